// Top-k and random-k: which elements are sent.
#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "core/rng.h"
#include "tests/comm/codec/codec_inputs.h"

namespace gradwire::test {
namespace {

std::vector<std::size_t> sent_places(std::span<const float> q) {
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < q.size(); ++i)
    if (q[i] != 0.0F) places.push_back(i);
  return places;
}

// The reference: a stable sort by magnitude.
std::vector<std::size_t> by_magnitude(std::span<const float> x) {
  std::vector<std::size_t> order(x.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return std::abs(x[a]) > std::abs(x[b]); });
  return order;
}

struct Distribution {
  std::string name;
  float (*of)(float normal, std::size_t i);
};
const std::vector<Distribution> kDistributions = {
    {"normal", [](float z, std::size_t) { return z; }},
    {"all_equal", [](float z, std::size_t) { return std::copysign(3.0F, z); }},
    {"few_values", [](float z, std::size_t) { return std::round(2.0F * z); }},
    {"mostly_zero", [](float z, std::size_t i) { return i % 500 == 0 ? z : 0.0F; }},
    {"one_bin", [](float z, std::size_t) { return 1.0F + std::ldexp(std::round(z), -23); }},
    {"subnormal", [](float z, std::size_t) { return z * 1e-42F; }},
    {"all_zero", [](float, std::size_t) { return -0.0F; }},
};

TEST(TopK, KeepsTheLargestAndOfEqualOnesTheFirst) {
  for (const Distribution& distribution : kDistributions) {
    for (const std::size_t n : {1U, 7U, 64U, 100U, 4097U, 65'536U, 140'001U}) {
      std::vector<float> x = normal_values(n, n);
      for (std::size_t i = 0; i < n; ++i)
        x[i] = distribution.of(x[i], i);
      const std::vector<std::size_t> order = by_magnitude(x);
      for (const double ratio : {0.001, 0.01, 0.06, 0.07, 0.5, 1.0}) {
        const auto k =
            static_cast<std::size_t>(std::max(1LL, std::llround(ratio * static_cast<double>(n))));
        const auto codec = make_codec({.name = "topk", .ratio = ratio});
        std::vector<float> wanted(n);
        for (std::size_t j = 0; j < k; ++j)
          wanted[order[j]] = x[order[j]];
        EXPECT_EQ(decoded(*codec, encoded(*codec, {.x = x}), n), wanted)
            << distribution.name << " " << n << " " << ratio;
      }
    }
  }
}

TEST(TopK, PlacesAreIndicesOrABitmapWhicheverIsShorter) {
  const std::vector<float> x = normal_values(16'000, 1);
  const auto size = [&](double ratio) {
    return encoded(*make_codec({.name = "topk", .ratio = ratio}), {.x = x}).size();
  };
  EXPECT_EQ(size(0.0625), 12U + 1000 * 6);        // 2 * 1000 bytes of indices against 2000
  EXPECT_EQ(size(0.063), 12U + 1008 * 4 + 2000);  // of bitmap
}

TEST(RandomK, EveryElementHasTheSameChance) {
  constexpr std::size_t kCount = 103;
  constexpr int kDraws = 20'000;
  const auto codec = make_codec({.name = "randk", .ratio = 0.1});
  const std::vector<float> ones(kCount, 1.0F);
  std::vector<float> sum(kCount);
  for (int draw = 0; draw < kDraws; ++draw) {
    const auto payload = encoded(*codec, {.x = ones}, {.step = static_cast<std::uint64_t>(draw)});
    EXPECT_EQ(sent_places(decoded(*codec, payload, kCount)).size(), 10U);
    codec->decode_add(payload, 1.0F, sum);
  }
  const double chance = 10.0 / kCount;
  const double sigma = std::sqrt(kDraws * chance * (1.0 - chance));
  for (const float count : sum)
    EXPECT_NEAR(count, kDraws * chance, 5.0 * sigma);
}

TEST(RandomK, SameKeySendsTheSameCoordinatesOfOtherValues) {
  const auto codec = make_codec({.name = "randk"});
  const std::vector<float> a = normal_values(10'000, 1), b = normal_values(10'000, 2);
  const CodecKey key{.seed = 7, .step = 1, .tensor = 2};
  EXPECT_EQ(sent_places(decoded(*codec, encoded(*codec, {.x = a}, key), a.size())),
            sent_places(decoded(*codec, encoded(*codec, {.x = b}, key), b.size())));
}

}  // namespace
}  // namespace gradwire::test
