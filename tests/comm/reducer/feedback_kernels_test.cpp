// The loops that look for coordinates that take no part, against loops over single bits: they pass
// over sixty-four bits at a time, so lengths and places around the ends of words matter.
#include "comm/reducer/feedback_kernels.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

namespace gradwire {
namespace {

constexpr float kLeast = 0.25F;
constexpr std::size_t kLengths[] = {1, 7, 8, 63, 64, 65, 72, 127, 128, 200};

bool is_set(const std::vector<std::byte>& bits, std::size_t i) {
  return (static_cast<unsigned>(bits[i / 8]) >> (i % 8) & 1) != 0;
}

// Bits of n elements, all set but those of `dead`; what is behind them in the last byte is clear.
std::vector<std::byte> bits_without(std::size_t n, const std::vector<std::size_t>& dead) {
  std::vector<std::byte> bits((n + 7) / 8);
  for (std::size_t i = 0; i < n; ++i)
    bits[i / 8] |= static_cast<std::byte>(1U << (i % 8));
  for (const std::size_t i : dead)
    bits[i / 8] &= ~static_cast<std::byte>(1U << (i % 8));
  return bits;
}

TEST(FeedbackKernels, ZeroDeadClearsTheDeadOnesAlone) {
  for (const std::size_t n : kLengths) {
    for (std::size_t first = 0; first < n; ++first) {
      const std::vector<std::byte> live = bits_without(n, {first, n - 1});
      std::vector<float> x(n + 1, 1.5F);
      feedback_kernels().zero_dead(live.data(), static_cast<std::int64_t>(n), x.data());
      for (std::size_t i = 0; i < n; ++i)
        ASSERT_EQ(x[i], is_set(live, i) ? 1.5F : 0.0F) << n << " " << first << " " << i;
      ASSERT_EQ(x[n], 1.5F) << n;
    }
  }
}

TEST(FeedbackKernels, WakesIfADeadOneIsLarge) {
  const auto wakes = [](const std::vector<std::byte>& live, const std::vector<float>& x) {
    const auto n = static_cast<std::int64_t>(x.size());
    return feedback_kernels().wakes(live.data(), n, kLeast, x.data());
  };
  for (const std::size_t n : kLengths) {
    const std::vector<std::byte> all = bits_without(n, {});
    EXPECT_FALSE(wakes(all, std::vector<float>(n, 9.0F))) << n;
    for (std::size_t i = 0; i < n; ++i) {
      const std::vector<std::byte> live = bits_without(n, {i});
      std::vector<float> x(n, 9.0F);
      x[i] = kLeast;
      ASSERT_FALSE(wakes(live, x)) << n << " " << i;
      x[i] = -1.0F;
      ASSERT_TRUE(wakes(live, x)) << n << " " << i;
    }
  }
}

}  // namespace
}  // namespace gradwire
