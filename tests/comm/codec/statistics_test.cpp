// What theory promises: unbiased rounding, variance and contraction constants.
#include <functional>

#include <gtest/gtest.h>

#include "tests/comm/codec/codec_inputs.h"

namespace gradwire::test {
namespace {

struct Moments {
  std::vector<double> mean, variance;  // of each element, over draws
  double relative_error = 0.0;         // mean of ||C(x) - x||^2 / ||x||^2
};

Moments moments_of(const Codec& codec, std::span<const float> x, int draws) {
  Moments m{std::vector<double>(x.size()), std::vector<double>(x.size())};
  for (int draw = 0; draw < draws; ++draw) {
    const CodecKey key{.seed = 5, .step = static_cast<std::uint64_t>(draw)};
    const std::vector<float> q = decoded(codec, encoded(codec, {.x = x}, key), x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = static_cast<double>(q[i]) - static_cast<double>(x[i]);
      m.mean[i] += error / draws;
      m.variance[i] += error * error / draws;
      m.relative_error += error * error;
    }
  }
  m.relative_error /= draws * squared_norm(x);
  return m;
}

// The mean error over draws is normal with the variance that the rounding has, which is at most
// `most(x)` for each element; five standard deviations.
void expect_unbiased(const Codec& codec, std::span<const float> x, double omega,
                     const std::function<double(double)>& most) {
  constexpr int kDraws = 4000;
  const Moments m = moments_of(codec, x, kDraws);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double variance = most(static_cast<double>(x[i]));
    EXPECT_LE(std::abs(m.mean[i]), 5.0 * std::sqrt(variance / kDraws)) << codec.name() << i;
    EXPECT_LE(m.variance[i], variance * (1.0 + 5.0 / std::sqrt(kDraws))) << codec.name() << i;
  }
  EXPECT_LE(m.relative_error, omega);
  EXPECT_GT(m.relative_error, 0.0);
}

TEST(Qsgd, IsUnbiasedWithTheVarianceOfThePaper) {
  const std::vector<float> x = normal_values(512, 1);
  const double norm = std::sqrt(squared_norm(x)), d = 512.0;
  for (const int levels : {1, 7, 127}) {
    const double s = levels;
    // Between 0 and one step, the rounding's variance is at most step^2 / 4.
    expect_unbiased(*make_codec({.name = "qsgd", .levels = levels}), x,
                    std::min(d / (s * s), std::sqrt(d) / s),
                    [&](double) { return norm * norm / (4.0 * s * s); });
  }
}

TEST(Natural, IsUnbiasedWithVarianceOneEighth) {
  std::vector<float> x = normal_values(512, 1);
  x[3] = 1e-40F;  // subnormal
  x[4] = -1e-39F;
  const double tiny = 0x1p-126;
  expect_unbiased(*make_codec({.name = "natural"}), x, 1.0 / 8.0,
                  [&](double v) { return std::abs(v) < tiny ? tiny * tiny / 4.0 : v * v / 8.0; });
}

TEST(RandomK, IsUnbiasedWithWeight) {
  constexpr int kDraws = 4000;
  const std::vector<float> x = normal_values(500, 1);
  const auto codec = make_codec({.name = "randk", .ratio = 0.1});
  std::vector<float> sum(x.size());
  for (int draw = 0; draw < kDraws; ++draw)
    codec->decode_add(encoded(*codec, {.x = x}, {.step = static_cast<std::uint64_t>(draw)}), 10.0F,
                      sum);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double sigma = std::abs(static_cast<double>(x[i])) * std::sqrt(9.0 / kDraws);
    EXPECT_NEAR(static_cast<double>(sum[i]) / kDraws, static_cast<double>(x[i]), 5.0 * sigma);
  }
}

double delta_of(const Codec& codec, std::span<const float> x) {
  std::vector<float> residual(x.size());
  encoded(codec, {.x = x, .residual = residual});
  return 1.0 - squared_norm(residual) / squared_norm(x);
}

constexpr std::size_t kMany = std::size_t{1} << 20;

// delta = E|x|^2 / E x^2. The estimate from blocks of b has a relative bias of about
// (1 / delta) / b, and its noise comes from a fourth moment of about 3 / delta.
TEST(SignCodec, ContractsAsTheoryPredicts) {
  const auto codec = make_codec({.name = "sign"});
  const std::vector<float> z = normal_values(kMany, 1);
  const double normal = 2.0 / 3.14159265358979;
  const auto expect_delta = [&](const char* what, double delta, auto&& from) {
    std::vector<float> x(kMany);
    for (std::size_t i = 0; i < kMany; ++i)
      x[i] = from(z[i], i);
    const double tolerance =
        1.0 / (delta * 4096.0) + 5.0 * std::sqrt(3.0 / (delta * static_cast<double>(kMany)));
    EXPECT_NEAR(delta_of(*codec, x) / delta, 1.0, tolerance) << what;
  };
  expect_delta("normal", normal, [](float v, std::size_t) { return v; });
  expect_delta("Laplace", 0.5, [](float v, std::size_t) {
    const double tail = 0.5 * std::erfc(std::abs(static_cast<double>(v)) / std::sqrt(2.0));
    return std::copysign(static_cast<float>(-std::log(2.0 * tail)), v);
  });
  expect_delta("99 % zeros", 0.01 * normal,
               [](float v, std::size_t i) { return i % 100 == 7 ? v : 0.0F; });
  expect_delta("half a thousandth", normal / 2.0,
               [](float v, std::size_t i) { return i % 2 == 0 ? v : v * 1e-3F; });
}

TEST(DeltaHint, IsKeptOrWhatNormalValuesShow) {
  const std::vector<float> x = normal_values(kMany, 1);
  const auto n = static_cast<std::int64_t>(kMany);
  for (const char* name : {"sign", "randk"}) {
    const auto codec = make_codec({.name = name});
    EXPECT_NEAR(delta_of(*codec, x) / codec->delta_hint(n), 1.0, 0.05) << name;
  }
  const std::vector<float> alike(1000, 2.0F);  // the worst of all vectors for top-k
  for (const double ratio : {0.01, 0.1, 0.5, 1.0}) {
    const auto codec = make_codec({.name = "topk", .ratio = ratio});
    EXPECT_DOUBLE_EQ(codec->delta_hint(1000), ratio);
    EXPECT_NEAR(delta_of(*codec, alike), ratio, 1e-12);
    EXPECT_GE(delta_of(*codec, x), codec->delta_hint(n)) << ratio;
  }
  for (const char* name : {"int8", "int4"}) {
    const auto codec = make_codec({.name = name});
    const double lost = 1.0 - delta_of(*codec, x), expected = 1.0 - codec->delta_hint(n);
    EXPECT_LT(lost, expected * 1.5) << name;
    EXPECT_GT(lost, expected / 1.5) << name;
  }
  for (const char* name : {"qsgd", "natural", "bf16", "identity"}) {  // bounds, not estimates
    const auto codec = make_codec({.name = name});
    EXPECT_GE(delta_of(*codec, x), std::string(name) == "qsgd" ? -2.5 : codec->delta_hint(n))
        << name;
  }
  EXPECT_EQ(make_codec({.name = "qsgd", .levels = 7})->delta_hint(n), 0.0);
  EXPECT_NEAR(make_codec({.name = "qsgd", .levels = 127})->delta_hint(n), 1.0 - 512.0 / (127 * 127),
              1e-12);
}

}  // namespace
}  // namespace gradwire::test
