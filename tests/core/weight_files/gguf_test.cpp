#include "core/weight_files/gguf.h"

#include <cmath>
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

constexpr const char* kGolden = GW_WEIGHT_FILES_GOLDEN "/blocks.gguf";

TEST(Gguf, ReadsAFileOfThePackage) {
  const GgufFile file = GgufFile::open(kGolden);
  EXPECT_TRUE(GgufFile::is_gguf(kGolden));
  EXPECT_EQ(file.text("general.architecture"), "llama");
  EXPECT_EQ(file.integer("llama.block_count"), 3);
  EXPECT_EQ(file.number("llama.attention.layer_norm_rms_epsilon"), 0.5);
  EXPECT_TRUE(file.flag("tokenizer.ggml.add_bos_token"));
  EXPECT_EQ(file.texts("tokenizer.ggml.tokens"), (std::vector<std::string>{"a", "", "\u00e9"}));
  EXPECT_EQ(file.integers("tokenizer.ggml.token_type"), (std::vector<std::int64_t>{1, -2, 3}));
  EXPECT_EQ(file.numbers("tokenizer.ggml.scores"), (std::vector<double>{0.5, -1.0}));

  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors().at("plain").shape, (Shape{2, 3}));
  EXPECT_EQ(decode(file.tensors().at("plain")), (std::vector<float>{0, 1, 2, 3, 4, 5}));
  const StoredTensor& blocks = file.tensors().at("blocks");
  EXPECT_EQ(blocks.type, ElementType::kQ4_1);
  EXPECT_EQ(blocks.shape, (Shape{3, 64}));
  const std::vector<float> values = decode(blocks);
  for (int i = 0; i < 192; ++i)
    EXPECT_NEAR(values[static_cast<std::size_t>(i)], -1.0 + 2.0 * i / 191, 0.012);
  std::vector<float> part(32);
  decode(blocks, 64, part);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), values.begin() + 64));
  expect_error(ErrorKind::kShape, "in blocks of 32", [&] { decode(blocks, 16, part); });
  expect_error(ErrorKind::kShape, "32 elements at 192", [&] { decode(blocks, 192, part); });
}

TEST(Gguf, SaysWhichKeyIsMissingOrOfAnotherKind) {
  const GgufFile file = GgufFile::open(kGolden);
  expect_error(ErrorKind::kData, "blocks.gguf: key 'none' is missing",
               [&] { file.integer("none"); });
  expect_error(ErrorKind::kData, "'general.architecture' is no integer",
               [&] { file.integer("general.architecture"); });
  expect_error(ErrorKind::kData, "is no string", [&] { file.text("llama.block_count"); });
  expect_error(ErrorKind::kData, "is no array of strings",
               [&] { file.texts("tokenizer.ggml.scores"); });
  expect_error(ErrorKind::kData, "is no array of integers",
               [&] { file.integers("tokenizer.ggml.scores"); });
}

TEST(Gguf, RefusesAFileCutOffAnywhere) {
  const std::string whole = read_text(kGolden);
  const std::size_t padding = 8;  // after the last tensor, without which nothing is missing
  const test::TempFolder folder;
  for (std::size_t size = 0; size + padding < whole.size(); ++size) {
    const std::string path = folder.write("cut", whole.substr(0, size));
    expect_error(ErrorKind::kData, "cut", [&] { GgufFile::open(path); });
  }
}

// Any byte of the header may be wrong: what comes of it is an error or a file, within memory that
// the file's size bounds.
TEST(Gguf, SurvivesAnyByteChanged) {
  const std::string whole = read_text(kGolden);
  const test::TempFolder folder;
  for (std::size_t at = 0; at < whole.size() - 200; ++at) {
    for (const char value : {'\0', '\x7F', '\xFF'}) {
      std::string changed = whole;
      changed[at] = value;
      const std::string path = folder.write("changed", changed);
      try {
        const GgufFile file = GgufFile::open(path);
        for (const auto& [name, tensor] : file.tensors())
          if (is_decodable(tensor.type)) decode(tensor);
      } catch (const Error& e) {
        EXPECT_EQ(e.kind(), ErrorKind::kData) << e.what();
      }
    }
  }
}

// The pieces of a file, for those that no writer would make.
class Bytes {
 public:
  template <class T>
  Bytes& number(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& string(const std::string& s) {
    number<std::uint64_t>(s.size());
    text_ += s;
    return *this;
  }
  Bytes& start(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    text_ += "GGUF";
    return number(version).number(tensors).number(keys);
  }
  Bytes& tensor(const std::string& name, std::vector<std::int64_t> dims, std::uint32_t type,
                std::uint64_t offset) {
    string(name).number(static_cast<std::uint32_t>(dims.size()));
    for (const std::int64_t dim : dims)
      number(dim);
    return number(type).number(offset);
  }
  Bytes& zeros(std::size_t n) {
    text_.append(n, '\0');
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void expect_refused(const Bytes& bytes, const char* says) {
  const test::TempFolder folder;
  const std::string path = folder.write("bad.gguf", bytes.text());
  expect_error(ErrorKind::kData, says, [&] { GgufFile::open(path); });
}

TEST(Gguf, RefusesWhatIsNotWellFormed) {
  expect_refused(Bytes().start(0, 0, 2), "GGUF version 2");
  expect_refused(Bytes().start(std::uint64_t{1} << 60, 0), "tensors cannot be in a file");
  expect_refused(Bytes().start(0, std::uint64_t{1} << 60), "keys cannot be in a file");
  expect_refused(Bytes().start(0, 1).number(~std::uint64_t{0}).zeros(30), "cut off");
  expect_refused(Bytes().start(0, 1).string("k").number(13U).zeros(30), "key 'k': unknown type 13");
  expect_refused(Bytes().start(0, 1).string("k").number(9U).number(9U).zeros(30),
                 "an array of arrays");
  expect_refused(
      Bytes().start(0, 1).string("k").number(9U).number(4U).number(std::uint64_t{1} << 62),
      "key 'k': cut off");
  expect_refused(Bytes().start(0, 1).string("").number(4U).number(1U).zeros(8), "has no name");
  expect_refused(
      Bytes().start(0, 2).string("k").number(4U).number(1U).string("k").number(4U).number(1U),
      "'k': appears twice");
  expect_refused(Bytes().start(0, 1).string("general.alignment").number(4U).number(24U),
                 "24 is no power of two");
  expect_refused(Bytes().start(1, 0).tensor("t", {1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
  expect_refused(Bytes().start(1, 0).tensor("t", {32}, 10, 0), "ggml type 10 is not supported");
  expect_refused(Bytes().start(1, 0).tensor("t", {31}, 2, 0), "[31] are not possible in Q4_0");
  expect_refused(Bytes().start(1, 0).tensor("t", {-4}, 0, 0), "[-4] are not possible");
  expect_refused(
      Bytes().start(1, 0).tensor("t", {std::int64_t{1} << 40, std::int64_t{1} << 40}, 0, 0),
      "not possible in F32");
  expect_refused(Bytes().start(1, 0).tensor("t", {1}, 0, 32).zeros(200), "0 was to be next");
  expect_refused(Bytes().start(2, 0).tensor("t", {1}, 0, 0).tensor("t", {1}, 0, 32).zeros(200),
                 "'t': appears twice");
}

}  // namespace
}  // namespace gradwire
