#include "export/safetensors_writer.h"

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/file.h"
#include "core/weight_files/safetensors.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using test::expect_error;

TEST(SafetensorsWriter, WhatIsWrittenComesBack) {
  const test::TempFolder folder;
  const std::string path = folder.file("model.safetensors");
  const std::vector<float> a{1, 2, 3, 4, 5, 6}, b{0.1F, -0.2F}, none;
  write_safetensors(path, {{"b", ElementType::kBf16, {2}, b},
                           {"none", ElementType::kF32, {0, 3}, none},
                           {"half", ElementType::kF16, {1, 2}, b},
                           {"a", ElementType::kF32, {2, 3}, a},
                           {"one", ElementType::kF32, {}, std::span(a).first(1)}});
  const SafetensorsFile file = read_safetensors(path);
  EXPECT_EQ(file.metadata.at("format"), "pt");
  ASSERT_EQ(file.tensors.size(), 5U);
  EXPECT_EQ(file.tensors.at("a").shape, (Shape{2, 3}));
  EXPECT_EQ(decode(file.tensors.at("a")), a);
  EXPECT_EQ(decode(file.tensors.at("b")), (std::vector<float>{0.10009765625F, -0.2001953125F}));
  EXPECT_EQ(decode(file.tensors.at("half")),
            (std::vector<float>{0.0999755859375F, -0.199951171875F}));
  EXPECT_EQ(decode(file.tensors.at("one")), (std::vector<float>{1}));
  EXPECT_EQ(file.tensors.at("none").shape, (Shape{0, 3}));
  EXPECT_EQ(folder.entries(), 1);
  // The widest type first, on a multiple of 64 bytes.
  std::uint64_t header = 0;
  std::memcpy(&header, read_text(path).data(), sizeof header);
  EXPECT_EQ((header + sizeof header) % 64, 0U);
  EXPECT_LT(file.tensors.at("a").bytes.data(), file.tensors.at("b").bytes.data());
}

TEST(SafetensorsWriter, LeavesNothingOfWhatItRefuses) {
  const test::TempFolder folder;
  const std::string path = folder.write("model.safetensors", "old");
  const std::vector<float> large{1e9F};
  expect_error(ErrorKind::kData, "tensor 'w': 1000000000 cannot be written as F16", [&] {
    write_safetensors(path, {{"w", ElementType::kF16, {1}, large}});
  });
  expect_error(ErrorKind::kUsage, "'w' [2] of F32 with 1 values", [&] {
    write_safetensors(path, {{"w", ElementType::kF32, {2}, large}});
  });
  expect_error(ErrorKind::kUsage, "two tensors 'w'", [&] {
    write_safetensors(path,
                      {{"w", ElementType::kF32, {1}, large}, {"w", ElementType::kF32, {1}, large}});
  });
  EXPECT_EQ(read_text(path), "old");
  EXPECT_EQ(folder.entries(), 1);
}

TEST(SafetensorsWriter, SaysWhatCannotBeWritten) {
  const test::TempFolder folder;
  expect_error(ErrorKind::kIo, "none/model.safetensors",
               [&] { write_safetensors(folder.file("none/model.safetensors"), {}); });
}

}  // namespace
}  // namespace gradwire
