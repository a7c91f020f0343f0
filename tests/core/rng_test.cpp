#include "core/rng.h"

#include <set>

#include <gtest/gtest.h>

namespace gradwire {
namespace {

// Known answers of Philox 4x32-10 as published with Random123 (kat_vectors).
TEST(Philox, MatchesThePublishedAnswers) {
  const PhiloxBlock zero = philox(0, 0);
  EXPECT_EQ(zero.word[0], 0x6627e8d5u);
  EXPECT_EQ(zero.word[1], 0xe169c58du);
  EXPECT_EQ(zero.word[2], 0xbc57ac4cu);
  EXPECT_EQ(zero.word[3], 0x9b00dbd8u);
}

TEST(Philox, WordsFollowTheBlocks) {
  for (std::uint64_t i = 0; i < 32; ++i) {
    EXPECT_EQ(random_word(7, i), philox(7, i / 4).word[i % 4]);
  }
  EXPECT_NE(random_word(7, 0), random_word(8, 0));
  EXPECT_NE(random_word(7, 5), random_word(7, 5 + (std::uint64_t{1} << 34)));
}

TEST(Philox, UniformNumbersFillTheUnitInterval) {
  constexpr int kBins = 16, kNumbers = 160000;
  int bins[kBins] = {};
  for (std::uint64_t i = 0; i < kNumbers; ++i) {
    const float u = to_uniform(random_word(1, i));
    ASSERT_TRUE(u >= 0.0F && u < 1.0F);
    ++bins[static_cast<int>(u * kBins)];
  }
  double chi_square = 0.0;
  for (const int n : bins)
    chi_square += (n - 1e4) * (n - 1e4) / 1e4;
  EXPECT_LT(chi_square, 44.3);  // 15 degrees of freedom, p = 1e-4
  EXPECT_EQ(to_uniform(0xFFFFFFFFu), 1.0F - 0x1p-24F);
}

TEST(Rng, TakesWholeBlocks) {
  Rng rng{.seed = 1};
  EXPECT_EQ(rng.take(5), 0U);
  EXPECT_EQ(rng.take(4), 8U);
  EXPECT_EQ(rng.take(1), 12U);
  EXPECT_EQ(rng.offset, 16U);
}

TEST(DeriveSeed, SaltsGiveDifferentSeeds) {
  std::set<std::uint64_t> seeds;
  for (std::uint64_t salt = 0; salt < 1000; ++salt)
    seeds.insert(derive_seed(42, salt));
  for (const char* name : {"a", "b", "ab", "ba", ""})
    seeds.insert(derive_seed(42, name));
  seeds.insert(derive_seed(43, std::uint64_t{0}));
  EXPECT_EQ(seeds.size(), 1006U);
  EXPECT_EQ(derive_seed(42, "a"), derive_seed(42, "a"));
}

}  // namespace
}  // namespace gradwire
