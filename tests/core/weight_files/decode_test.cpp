// Elements of files against the Python packages of the formats: golden.py writes golden.txt.
#include <cstring>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/f16.h"
#include "core/weight_files/blocks.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

struct Case {
  std::string what, type;
  std::vector<std::byte> from, to;
};

std::vector<std::byte> from_hex(const std::string& text) {
  std::vector<std::byte> out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2)
    out.push_back(static_cast<std::byte>(std::stoi(text.substr(i, 2), nullptr, 16)));
  return out;
}

std::vector<Case> golden(const std::string& what) {
  std::ifstream file(GW_WEIGHT_FILES_GOLDEN "/golden.txt");
  std::vector<Case> cases;
  for (std::string line; std::getline(file, line);) {
    std::istringstream in(line);
    Case c;
    std::string from, to;
    in >> c.what >> c.type >> from >> to;
    c.from = from_hex(from);
    c.to = from_hex(to);
    if (c.what == what) cases.push_back(c);
  }
  return cases;
}

ElementType type_named(const std::string& name) {
  for (int t = 0; t <= static_cast<int>(ElementType::kQ4K); ++t)
    if (name == name_of(static_cast<ElementType>(t))) return static_cast<ElementType>(t);
  ADD_FAILURE() << "no type " << name;
  return ElementType::kF32;
}

std::vector<float> floats(std::span<const std::byte> bytes) {
  std::vector<float> out(bytes.size() / sizeof(float));
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

TEST(Decode, GivesTheBitsOfTheReference) {
  const std::vector<Case> cases = golden("decode");
  ASSERT_EQ(cases.size(), 9U);
  for (const Case& c : cases) {
    std::vector<float> found(c.to.size() / sizeof(float));
    decode(type_named(c.type), c.from, found);
    EXPECT_EQ(std::memcmp(found.data(), c.to.data(), c.to.size()), 0) << c.type;
  }
}

TEST(Encode, GivesTheBytesOfTheReference) {
  const std::vector<Case> cases = golden("encode");
  ASSERT_EQ(cases.size(), 4U);
  for (const Case& c : cases) {
    std::vector<std::byte> found(c.to.size());
    encode(type_named(c.type), floats(c.from), found);
    EXPECT_EQ(found, c.to) << c.type;
  }
}

TEST(F16, EveryNumberComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const bool nan = (bits & 0x7FFF) > 0x7C00;
    const auto half = static_cast<std::uint16_t>(bits);
    const auto quiet = static_cast<std::uint16_t>(half | 0x200);
    ASSERT_EQ(float_to_f16(f16_to_float(half)), nan ? quiet : half);
  }
}

TEST(F16, RoundsToNearestEven) {
  EXPECT_EQ(float_to_f16(1.0F + 0x1p-11F), float_to_f16(1.0F));
  EXPECT_EQ(float_to_f16(1.0F + 0x3p-11F), float_to_f16(1.0F + 0x1p-9F));
  EXPECT_EQ(float_to_f16(65519.0F), 0x7BFF);
  EXPECT_EQ(float_to_f16(65520.0F), 0x7C00);
  EXPECT_EQ(float_to_f16(0x1p-25F), 0);
  EXPECT_EQ(float_to_f16(0x1.8p-25F), 1);
}

TEST(Encode, RefusesWhatATypeCannotHold) {
  std::vector<float> values(32, 1.0F);
  std::vector<std::byte> bytes(64);
  values[3] = 1e6F;
  test::expect_error(ErrorKind::kData, "1000000 cannot be written as F16",
                     [&] { encode(ElementType::kF16, values, bytes); });
  values[3] = std::numeric_limits<float>::quiet_NaN();
  test::expect_error(ErrorKind::kData, "Q8_0",
                     [&] { encode(ElementType::kQ8_0, values, std::span(bytes).first(34)); });
  bytes.resize(210);
  test::expect_error(ErrorKind::kUsage, "Q6_K",
                     [&] { encode(ElementType::kQ6K, std::vector<float>(256), bytes); });
}

TEST(Decode, RefusesSizesThatDoNotFit) {
  std::vector<float> out(32);
  test::expect_error(ErrorKind::kShape, "17 bytes of Q4_0 are not 32 floats",
                     [&] { decode(ElementType::kQ4_0, std::vector<std::byte>(17), out); });
  test::expect_error(ErrorKind::kShape, "I32",
                     [&] { decode(ElementType::kI32, std::vector<std::byte>(128), out); });
}

TEST(SizeInBytes, ChecksRowsAndOverflow) {
  const auto size = [](ElementType type, std::vector<std::int64_t> dims) {
    return size_in_bytes(type, dims);
  };
  EXPECT_EQ(size(ElementType::kF32, {}), 4);
  EXPECT_EQ(size(ElementType::kQ4_1, {3, 64}), 120);
  EXPECT_EQ(size(ElementType::kF32, {0, 5}), 0);
  EXPECT_EQ(size(ElementType::kQ4_1, {64, 3}), std::nullopt);
  EXPECT_EQ(size(ElementType::kQ4_1, {}), std::nullopt);
  EXPECT_EQ(size(ElementType::kF32, {-1, 5}), std::nullopt);
  constexpr std::int64_t kLarge = std::int64_t{1} << 40;
  EXPECT_EQ(size(ElementType::kF32, {kLarge, kLarge}), std::nullopt);
  EXPECT_EQ(size(ElementType::kF32, {kLarge, kLarge, 0}), std::nullopt);
  // Fewer than 2^63 bytes, but not fewer elements.
  EXPECT_EQ(size(ElementType::kQ4_0, {std::int64_t{1} << 31, std::int64_t{1} << 32}), std::nullopt);
}

}  // namespace
}  // namespace gradwire
