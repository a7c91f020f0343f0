#include "core/math.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/rng.h"

namespace gradwire {
namespace {

// Distance from the exact value in units of the last place of the float nearest to it.
double ulps(float found, double exact) {
  const float nearest = std::abs(static_cast<float>(exact));
  const float next = std::nextafter(nearest, std::numeric_limits<float>::infinity());
  return std::abs(static_cast<double>(found) - exact) / (static_cast<double>(next) - nearest);
}

template <class F, class G>
void expect_close(const char* name, F f, G exact, double low, double high) {
  double worst = 0, at = 0;
  constexpr int kSteps = 2'000'003;
  for (int i = 0; i <= kSteps; ++i) {
    const float x = static_cast<float>(low + (high - low) * i / kSteps);
    const double distance = ulps(f(x), exact(static_cast<double>(x)));
    if (distance > worst) worst = distance, at = static_cast<double>(x);
  }
  EXPECT_LT(worst, 2.0) << name << " at " << at;
}

TEST(Math, FloatIsWithinTwoUnitsInTheLastPlace) {
  const auto exp_f = [](float x) { return math::exp(x); };
  const auto log_f = [](float x) { return math::log(x); };
  const auto tanh_f = [](float x) { return math::tanh(x); };
  const auto erf_f = [](float x) { return math::erf(x); };
  const auto exp_d = [](double x) { return std::exp(x); };
  const auto log_d = [](double x) { return std::log(x); };
  const auto tanh_d = [](double x) { return std::tanh(x); };
  const auto erf_d = [](double x) { return std::erf(x); };
  expect_close("exp", exp_f, exp_d, -104.0, 88.72);
  expect_close("exp", exp_f, exp_d, -1.0, 1.0);
  expect_close("log", log_f, log_d, 1e-6, 4.0);
  expect_close("log", log_f, log_d, 4.0, 1e30);
  expect_close("log", log_f, log_d, 1e-45, 1e-37);
  expect_close("tanh", tanh_f, tanh_d, -10.0, 10.0);
  expect_close("tanh", tanh_f, tanh_d, -0.7, 0.7);
  expect_close("erf", erf_f, erf_d, -5.0, 5.0);
  expect_close("erf", erf_f, erf_d, -1e-3, 1e-3);
}

// This file is compiled without the instruction, so that it is the emulation that is compared. Half
// of the sums cancel all but a few bits, where a second rounding would show.
TEST(Math, FmaRoundsOnce) {
  constexpr std::uint64_t kSums = 2'000'000;
  for (std::uint64_t i = 0; i < kSums; ++i) {
    const auto normal = [&](std::uint64_t seed, std::uint32_t exponents) {
      const auto word = static_cast<std::uint32_t>(random_word(seed, i));
      const std::uint32_t exponent = 127U - exponents / 2 + (word >> 23) % exponents;
      return math::from_bits((word & 0x807FFFFFU) | (exponent << 23));
    };
    const float a = normal(1, 20), b = normal(2, 20);
    const float c = i % 2 == 0 ? normal(3, 120) : -(a * b) * normal(4, 2);
    ASSERT_EQ(math::bits_of(math::fma(a, b, c)), math::bits_of(std::fma(a, b, c)))
        << a << " * " << b << " + " << c;
  }
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(math::fma(kNan, 1.0F, 1.0F)));
  EXPECT_EQ(math::fma(0.0F, 1.0F, 0.0F), 0.0F);
  // Results below the smallest normal number.
  EXPECT_EQ(math::fma(1e-30F, 3e-12F, 1e-45F), std::fma(1e-30F, 3e-12F, 1e-45F));
}

TEST(Math, EdgesAreThoseOfTheCLibrary) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(math::exp(-kInf), 0.0F);
  EXPECT_EQ(math::exp(kInf), kInf);
  EXPECT_EQ(math::exp(-1000.0F), 0.0F);
  EXPECT_EQ(math::exp(1000.0F), kInf);
  EXPECT_EQ(math::exp(0.0F), 1.0F);
  EXPECT_TRUE(std::isnan(math::exp(kNan)));
  EXPECT_EQ(math::log(0.0F), -kInf);
  EXPECT_EQ(math::log(1.0F), 0.0F);
  EXPECT_EQ(math::log(kInf), kInf);
  EXPECT_TRUE(std::isnan(math::log(-1.0F)));
  EXPECT_TRUE(std::isnan(math::log(kNan)));
  EXPECT_EQ(math::tanh(kInf), 1.0F);
  EXPECT_EQ(math::tanh(-kInf), -1.0F);
  EXPECT_TRUE(std::signbit(math::tanh(-0.0F)));
  EXPECT_TRUE(std::isnan(math::tanh(kNan)));
  EXPECT_EQ(math::erf(kInf), 1.0F);
  EXPECT_EQ(math::erf(-kInf), -1.0F);
  EXPECT_TRUE(std::signbit(math::erf(-0.0F)));
  EXPECT_TRUE(std::isnan(math::erf(kNan)));
}

}  // namespace
}  // namespace gradwire
