#include "core/weight_files/safetensors.h"

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/file.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using test::expect_error;

std::string file_text(const std::string& header, std::size_t data_bytes) {
  const std::uint64_t length = header.size();
  std::string out(sizeof length, '\0');
  std::memcpy(out.data(), &length, sizeof length);
  return out + header + std::string(data_bytes, '\1');
}

TEST(Safetensors, ReadsAFileOfThePackage) {
  const SafetensorsFile file = read_safetensors(GW_WEIGHT_FILES_GOLDEN "/three.safetensors");
  EXPECT_EQ(file.metadata.at("format"), "pt");
  ASSERT_EQ(file.tensors.size(), 3U);
  const StoredTensor& w = file.tensors.at("w");
  EXPECT_EQ(w.shape, (Shape{2, 3}));
  EXPECT_EQ(decode(w), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  std::vector<float> part(2);
  decode(w, 3, part);
  EXPECT_EQ(part, (std::vector<float>{3, 4}));
  EXPECT_EQ(decode(file.tensors.at("half")), (std::vector<float>{1.0F, -0.5F}));
  EXPECT_EQ(file.tensors.at("ids").type, ElementType::kI64);
  EXPECT_EQ(file.tensors.at("ids").shape, Shape{});
}

TEST(Safetensors, ATensorKeepsItsFile) {
  StoredTensor kept;
  {
    const test::TempFolder folder;
    const std::string path =
        folder.write("a", file_text(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2));
    kept = read_safetensors(path).tensors.at("a");
  }
  EXPECT_EQ(kept.bytes[1], std::byte{1});
}

struct Bad {
  const char* header;
  std::size_t data;
  const char* says;
};

TEST(Safetensors, RefusesWhatThePackageRefuses) {
  const Bad cases[] = {
      {"[]", 0, "not a JSON object"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}})", 4, "'a' appears twice"},
      {R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, "has no dtype"},
      {R"({"a":{"dtype":"F4","shape":[1],"data_offsets":[0,4]}})", 4, "'F4' is not supported"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "shape are not numbers"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "shape are not numbers"},
      {R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1],"data_offsets":[0,4]}})", 4, "7 dimensions"},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})", 4,
       "does not take the 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "are not in the 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3, "are not in the 3 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "0 was to be next"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
           "b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "4 was to be next"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 5, "1 bytes of data follow"},
      {R"({"a":{"dtype":"F32","shape":[[[1]]],"data_offsets":[0,4]}})", 4, "nested deeper"},
      {R"({"__metadata__":{"a":1}})", 0, "__metadata__"},
      {R"({"a":)", 0, "parse error"},
  };
  const test::TempFolder folder;
  for (const Bad& bad : cases) {
    const std::string path = folder.write("bad", file_text(bad.header, bad.data));
    expect_error(ErrorKind::kData, bad.says, [&] { read_safetensors(path); });
  }
}

TEST(Safetensors, RefusesAFileCutOffAnywhere) {
  const std::string whole = read_text(GW_WEIGHT_FILES_GOLDEN "/three.safetensors");
  const test::TempFolder folder;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::string path = folder.write("cut", whole.substr(0, size));
    expect_error(ErrorKind::kData, "cut", [&] { read_safetensors(path); });
  }
}

TEST(Safetensors, RefusesAHeaderLongerThanTheFile) {
  const test::TempFolder folder;
  std::string text(16, '\xFF');
  expect_error(ErrorKind::kData, "a header of 18446744073709551615 bytes",
               [&] { read_safetensors(folder.write("long", text)); });
}

TEST(Safetensors, SaysWhatCannotBeOpened) {
  const test::TempFolder folder;
  expect_error(ErrorKind::kIo, "none", [&] { read_safetensors(folder.file("none")); });
  expect_error(ErrorKind::kData, "not a regular file",
               [&] { read_safetensors(folder.path().string()); });
}

class Shards : public ::testing::Test {
 protected:
  void write_shard(const std::string& name, const std::string& tensor) {
    folder_.write(
        name,
        file_text(R"({")" + tensor + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", 1));
  }
  void write_index(const std::string& map) {
    folder_.write("model.safetensors.index.json",
                  R"({"metadata":{"total_size":2},"weight_map":)" + map + "}");
  }
  StoredTensors read() { return read_safetensors_folder(folder_.path().string()); }

  test::TempFolder folder_;
};

TEST_F(Shards, AreReadByTheirIndex) {
  write_shard("one.safetensors", "a");
  write_shard("two.safetensors", "b");
  write_index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  EXPECT_EQ(read().size(), 2U);
}

TEST_F(Shards, MustHoldWhatTheIndexSays) {
  write_shard("one.safetensors", "a");
  write_shard("two.safetensors", "b");
  write_index(R"({"a":"one.safetensors","c":"two.safetensors"})");
  expect_error(ErrorKind::kData, "tensor 'b' is in two.safetensors, but the index does not name it",
               [&] { read(); });
  write_index(R"({"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"})");
  expect_error(ErrorKind::kData, "tensor 'c' is not in two.safetensors", [&] { read(); });
  write_index(R"({"a":"one.safetensors","b":"one.safetensors"})");
  expect_error(ErrorKind::kData, "tensor 'b' is not in one.safetensors", [&] { read(); });
}

TEST_F(Shards, StayInTheFolder) {
  for (const char* name : {"../a", "/etc/passwd", "..", ""}) {
    write_index(R"({"a":")" + std::string(name) + R"("})");
    expect_error(ErrorKind::kData, "no name of a file", [&] { read(); });
  }
  write_index(R"({"a":7})");
  expect_error(ErrorKind::kData, "no name of a file: 7", [&] { read(); });
}

}  // namespace
}  // namespace gradwire
