#include "export/gguf_writer.h"

#include <csignal>
#include <cstring>

#include <gtest/gtest.h>
#include <sys/resource.h>

#include "core/file.h"
#include "core/weight_files/gguf.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using test::expect_error;

std::vector<float> ramp(std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = 0.125F * static_cast<float>(i % 17) - 1.0F;
  return values;
}

const GgufMetadata kKeys = {{"general.architecture", "llama"},
                            {"a.flag", true},
                            {"a.count", 7U},
                            {"a.signed", -7},
                            {"a.number", 0.5F},
                            {"a.texts", std::vector<std::string>{"", "x y", "\xE2\x96\x81"}},
                            {"a.numbers", std::vector<float>{1.0F, -2.5F}},
                            {"a.integers", std::vector<std::int32_t>{3, -1}}};

TEST(GgufWriter, WhatIsWrittenComesBack) {
  const test::TempFolder folder;
  const std::string path = folder.file("model.gguf");
  const std::vector<float> values = ramp(64);
  write_gguf(path, kKeys,
             {{"odd", ElementType::kF32, {3}, std::span(values).first(3)},
              {"half", ElementType::kF16, {2, 32}, values},
              {"brain", ElementType::kBf16, {2, 32}, values},
              {"eight", ElementType::kQ8_0, {2, 32}, values},
              {"four", ElementType::kQ4_0, {1, 64}, values}});
  const GgufFile file = GgufFile::open(path);
  EXPECT_EQ(file.text("general.architecture"), "llama");
  EXPECT_TRUE(file.flag("a.flag"));
  EXPECT_EQ(file.integer("a.count"), 7);
  EXPECT_EQ(file.integer("a.signed"), -7);
  EXPECT_EQ(file.number("a.number"), 0.5);
  EXPECT_EQ(file.texts("a.texts"), (std::vector<std::string>{"", "x y", "\xE2\x96\x81"}));
  EXPECT_EQ(file.numbers("a.numbers"), (std::vector<double>{1.0, -2.5}));
  EXPECT_EQ(file.integers("a.integers"), (std::vector<std::int64_t>{3, -1}));
  EXPECT_EQ(decode(file.tensors().at("half")), values);
  EXPECT_EQ(decode(file.tensors().at("brain")), values);
  EXPECT_EQ(file.tensors().at("four").shape, (Shape{1, 64}));
  for (const auto& [name, most] : {std::pair("eight", 0.01F), std::pair("four", 0.14F)}) {
    const std::vector<float> back = decode(file.tensors().at(name));
    for (std::size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(back[i], values[i], most) << name;
  }
  EXPECT_EQ(folder.entries(), 1);
}

TEST(GgufWriter, NamesWhatDiffers) {
  const test::TempFolder folder;
  const std::string path = folder.file("model.gguf");
  std::vector<float> values = ramp(32);
  const std::vector<TensorToWrite> tensors{{"w", ElementType::kF32, {32}, values}};
  write_gguf(path, kKeys, tensors);
  compare_gguf(path, "m", kKeys, tensors);
  GgufMetadata other = kKeys;
  other[2].second = 8U;
  expect_error(ErrorKind::kIo, "m: key 'a.count' is not what was written",
               [&] { compare_gguf(path, "m", other, tensors); });
  other = kKeys;
  other.pop_back();
  expect_error(ErrorKind::kIo, "m: 8 keys, not 7",
               [&] { compare_gguf(path, "m", other, tensors); });
  expect_error(ErrorKind::kIo, "m: tensor 'w' is one too many",
               [&] { compare_gguf(path, "m", kKeys, {}); });
  values[31] += 1.0F;
  expect_error(ErrorKind::kIo, "m: tensor 'w' reads back other than it was written",
               [&] { compare_gguf(path, "m", kKeys, tensors); });
}

TEST(GgufWriter, LeavesNothingOfWhatItRefuses) {
  const test::TempFolder folder;
  const std::string path = folder.file("model.gguf");
  const std::vector<float> values = ramp(64);
  const auto refuses = [&](ErrorKind kind, const char* why, const GgufMetadata& keys,
                           const std::vector<TensorToWrite>& tensors) {
    expect_error(kind, why, [&] { write_gguf(path, keys, tensors); });
  };
  const TensorToWrite w{"w", ElementType::kF32, {64}, values};
  refuses(ErrorKind::kUsage, "key 'a' is empty or there twice", {{"a", 1U}, {"a", 2U}}, {});
  refuses(ErrorKind::kUsage, "tensor 'w' has no name", {}, {w, w});
  TensorToWrite other = w;
  other.name = std::string(64, 'n');
  refuses(ErrorKind::kUsage, "more than 63 bytes", {}, {other});
  other = w;
  other.type = ElementType::kQ6K;
  refuses(ErrorKind::kUsage, "cannot be written as Q6_K", {}, {other});
  refuses(ErrorKind::kData, "tensor 'w' [4, 16] cannot be written as Q8_0: its rows are not whole",
          {}, {{"w", ElementType::kQ8_0, {4, 16}, values}});
  EXPECT_EQ(folder.entries(), 0);
}

TEST(GgufWriter, LeavesNothingOnAFullDisk) {
  const test::TempFolder folder;
  const std::vector<float> values = ramp(4096);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{4096, before.rlim_max};
  void (*const handler)(int) = std::signal(SIGXFSZ, SIG_IGN);
  ::setrlimit(RLIMIT_FSIZE, &small);
  expect_error(ErrorKind::kIo, "model.gguf: cannot be written", [&] {
    write_gguf(folder.file("model.gguf"), kKeys, {{"w", ElementType::kF32, {4096}, values}});
  });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_EQ(folder.entries(), 0);
}

}  // namespace
}  // namespace gradwire
