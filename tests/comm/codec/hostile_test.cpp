// Payloads that no encoder wrote: an error of the right kind or some values, nothing else. The
// address sanitizer watches over reads; the buffers have exactly the size they claim.
#include <algorithm>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/comm/codec/codec_inputs.h"

namespace gradwire::test {
namespace {

// True if decoding was refused as it should be; false if it went through.
bool refused(const Codec& codec, const std::vector<std::byte>& payload, std::size_t n) {
  constexpr float kGuard = 12345.0F;
  const auto exact = std::make_unique<std::byte[]>(payload.size());
  std::ranges::copy(payload, exact.get());
  std::vector<float> target(n + 128, kGuard);
  bool threw = false;
  try {
    codec.decode(std::span<const std::byte>(exact.get(), payload.size()),
                 std::span(target).subspan(64, n));
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kComm) << e.what();
    threw = true;
  }
  for (std::size_t i = 0; i < 64; ++i) {
    EXPECT_EQ(target[i], kGuard);
    EXPECT_EQ(target[64 + n + i], kGuard);
  }
  return threw;
}

class Hostile : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Codec> codec_ = make_codec({.name = GetParam()});
};
INSTANTIATE_TEST_SUITE_P(Codecs, Hostile, testing::ValuesIn(all_codecs()),
                         [](const auto& codec) { return codec.param; });

TEST_P(Hostile, EveryTruncationIsRefused) {
  for (const std::size_t n : {1U, 7U, 700U}) {
    const std::vector<std::byte> whole = encoded(*codec_, {.x = normal_values(n, 1)});
    EXPECT_FALSE(refused(*codec_, whole, n));
    for (std::size_t bytes = 0; bytes < whole.size(); ++bytes)
      ASSERT_TRUE(
          refused(*codec_, {whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(bytes)}, n))
          << n << ": " << bytes << " of " << whole.size();
  }
}

TEST_P(Hostile, RandomBytesAndRandomDamageStayInBounds) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    const std::size_t n = random() % 6000;
    std::vector<std::byte> payload(random() % (5 * n + 32));
    for (std::byte& b : payload)
      b = static_cast<std::byte>(random());
    if (round % 2 == 0) {
      payload = encoded(*codec_, {.x = normal_values(n, random())});
      for (std::uint64_t damage = random() % 4; !payload.empty() && damage > 0; --damage)
        payload[random() % payload.size()] = static_cast<std::byte>(random());
    }
    refused(*codec_, payload, n);
  }
}

TEST(HostileScale, IsRefusedUnlessFiniteAndPositive) {
  const std::vector<float> x = normal_values(5000, 1);
  for (const char* name : {"sign", "int8", "int4", "qsgd"}) {
    const auto codec = make_codec({.name = name});
    for (const float bad : {std::nanf(""), INFINITY, -INFINITY, -1.0F}) {
      std::vector<std::byte> payload = encoded(*codec, {.x = x});
      std::memcpy(payload.data() + 4, &bad, sizeof bad);  // of the second block
      EXPECT_TRUE(refused(*codec, payload, x.size())) << name << " " << bad;
    }
  }
}

TEST(HostileNatural, ExponentOfInfinityIsRefused) {
  const auto codec = make_codec({.name = "natural"});
  for (const std::size_t at : {0U, 4096U, 4999U}) {
    std::vector<std::byte> payload = encoded(*codec, {.x = normal_values(5000, 1)});
    payload[at] = std::byte{255};
    EXPECT_TRUE(refused(*codec, payload, 5000));
  }
}

class HostileTopK : public testing::Test {
 protected:
  static constexpr std::size_t kCount = 70'000;  // two segments
  std::vector<std::byte> make(double ratio) {
    codec_ = make_codec({.name = "topk", .ratio = ratio});
    return encoded(*codec_, {.x = normal_values(kCount, 1)});
  }
  template <class T>
  bool refused_with(std::vector<std::byte> payload, std::size_t at, T value) {
    std::memcpy(payload.data() + at, &value, sizeof value);
    return refused(*codec_, payload, kCount);
  }
  std::unique_ptr<Codec> codec_;
};

TEST_F(HostileTopK, HeaderThatContradictsItselfIsRefused) {
  const std::vector<std::byte> good = make(0.01);
  ASSERT_FALSE(refused(*codec_, good, kCount));
  for (const std::uint32_t count : {0U, 699U, 701U, 70'001U, 0xFFFFFFFFU})
    EXPECT_TRUE(refused_with(good, 0, count)) << count;
  for (const std::uint32_t format : {1U, 2U, 0xFFFFFFFFU})
    EXPECT_TRUE(refused_with(good, 4, format)) << format;
  for (const std::uint32_t end : {701U, 0xFFFFFFFFU})
    EXPECT_TRUE(refused_with(good, 8, end)) << end;
}

TEST_F(HostileTopK, IndicesOutOfOrderOrRangeAreRefused) {
  const std::vector<std::byte> good = make(0.01);
  const std::size_t indices = 16 + 700 * 4;
  EXPECT_TRUE(refused_with(good, indices, std::uint16_t{65'535}));          // before smaller ones
  EXPECT_TRUE(refused_with(good, indices + 2 * 699, std::uint16_t{4464}));  // behind the end
  std::uint16_t second = 0;
  std::memcpy(&second, good.data() + indices + 2, sizeof second);
  EXPECT_TRUE(refused_with(good, indices, second));  // the same element twice
}

TEST_F(HostileTopK, BitmapThatContradictsTheCountIsRefused) {
  const std::vector<std::byte> good = make(0.5);
  ASSERT_FALSE(refused(*codec_, good, kCount));
  const std::size_t bitmap = 16 + 35'000 * 4;
  EXPECT_TRUE(refused_with(good, bitmap, good[bitmap] ^ std::byte{1}));
  EXPECT_TRUE(refused_with(good, bitmap + 100, static_cast<std::uint16_t>(0)));
}

}  // namespace
}  // namespace gradwire::test
