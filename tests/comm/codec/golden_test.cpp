#include <cinttypes>
#include <cstdio>
#include <fstream>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "core/simd.h"
#include "tests/comm/codec/codec_inputs.h"

namespace gradwire::test {
namespace {

std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

// The inputs of golden.py.
std::vector<float> golden_values(std::size_t n, std::uint64_t salt) {
  std::vector<float> x(n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::uint64_t z = mix(i * 64 + salt);
    auto bits = static_cast<std::uint32_t>((z >> 63) << 31 | (118 + (z >> 32) % 12) << 23 |
                                           (z & 0x7FFFFFU));
    if (i % 17 == 3) bits &= 0x80000000U;
    if (i % 23 == 5) bits &= 0x807FFFFFU;
    x[i] = std::bit_cast<float>(bits);
  }
  return x;
}

std::uint64_t digest(std::span<const std::byte> data) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const std::byte b : data)
    hash = (hash ^ static_cast<std::uint64_t>(b)) * 0x100000001B3U;
  return hash;
}

std::string hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016" PRIx64, value);
  return text;
}

CodecConfig config_of(const std::string& name) {
  if (name == "topk_dense") return {.name = "topk", .ratio = 0.3};
  return {.name = name};
}

// The five digests of a line of golden.txt.
std::vector<std::string> digests(const Codec& codec, std::size_t n) {
  const CodecKey key{.seed = 11, .step = 3, .tensor = 5};
  const std::vector<float> x = golden_values(n, 1), momentum = golden_values(n, 3);
  std::vector<std::string> all = {hex(digest(encoded(codec, {.x = x}, key)))};
  for (const bool heavy : {false, true}) {
    std::vector<float> residual = golden_values(n, 2);
    CodecInput in{.x = x, .residual = residual};
    if (heavy) {
      in.momentum = momentum;
      in.beta = 0.9F;
    }
    all.push_back(hex(digest(encoded(codec, in, key))));
    all.push_back(hex(digest(std::as_bytes(std::span(residual)))));
  }
  return all;
}

// Run for the processor's own instruction set and, by ctest, for x86-64-v2 and -v3.
TEST(CodecGolden, PayloadsAndResidualsAreThoseOfTheReference) {
  std::ifstream file(GW_CODEC_GOLDEN);
  ASSERT_TRUE(file) << GW_CODEC_GOLDEN;
  std::string name;
  std::size_t n = 0;
  int cases = 0;
  while (file >> name >> n) {
    std::vector<std::string> wanted(5);
    for (std::string& word : wanted)
      file >> word;
    EXPECT_EQ(digests(*make_codec(config_of(name)), n), wanted)
        << name << " " << n << " on " << name_of(detect_isa());
    ++cases;
  }
  EXPECT_EQ(cases, 80);
}

}  // namespace
}  // namespace gradwire::test
