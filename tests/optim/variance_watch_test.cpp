#include "optim/variance_watch.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/optim/replicas.h"

namespace gradwire {
namespace {

constexpr double kBeta2 = 0.99;  // a window of 100

// The first update after which the watch is frozen, or -1.
template <class Norm>
int freezes_at(VarianceWatch watch, const Norm& norm, int until = 5000) {
  for (int t = 1; t <= until; ++t) {
    watch.observe(t, norm(t));
    if (watch.frozen()) return t;
  }
  return -1;
}

// ||v||_1, bias-corrected, as a sum over all past updates, without a recursion.
template <class Norm>
double naive_norm(const Norm& norm, int t) {
  double sum = 0.0, weight = 0.0;
  for (int s = 1; s <= t; ++s) {
    sum += std::pow(kBeta2, t - s) * norm(s);
    weight += std::pow(kBeta2, t - s);
  }
  return sum / weight;
}

TEST(VarianceWatch, WindowIsOneOverOneMinusBeta2) {
  EXPECT_EQ(VarianceWatch(0.999, {}).window(), 1000);
  EXPECT_EQ(VarianceWatch(0.99, {}).window(), 100);
  EXPECT_EQ(VarianceWatch(0.95, {}).window(), 20);
  EXPECT_EQ(VarianceWatch(0.0, {}).window(), 1);
  EXPECT_EQ(VarianceWatch(0.97, {}).window(), 34);
  EXPECT_THROW(VarianceWatch(1.0, {}), Error);
  EXPECT_THROW(VarianceWatch(0.9, {.thaw_ratio = 1.0}), Error);
}

TEST(VarianceWatch, FreezesWhereTheRatioCrosses) {
  const auto falls = [](int t) { return 1.0 + 50.0 * std::exp(-t / 250.0); };
  const auto rises = [](int t) { return 10.0 - 9.0 * std::exp(-t / 400.0); };
  const auto expect_at_crossing = [](const auto& norm) {
    int want = 200;
    for (;; ++want) {
      const double ratio = naive_norm(norm, want - 100) / naive_norm(norm, want);
      if (ratio >= 0.96 && ratio <= 1.0 / 0.96) break;
    }
    EXPECT_GT(want, 210);
    EXPECT_NEAR(freezes_at(VarianceWatch(kBeta2, {}), norm), want, 1);
  };
  expect_at_crossing(falls);
  expect_at_crossing(rises);
}

TEST(VarianceWatch, NeverBeforeTheGuards) {
  const auto constant = [](int) { return 3.0; };
  EXPECT_EQ(freezes_at(VarianceWatch(kBeta2, {}), constant), 200);
  EXPECT_EQ(freezes_at(VarianceWatch(kBeta2, {.lr_warmup_steps = 317}), constant), 317);
  EXPECT_EQ(freezes_at(VarianceWatch(kBeta2, {.lr_warmup_steps = 20}), constant), 200);
}

TEST(VarianceWatch, AFixedStepOrNeverOverridesTheRule) {
  const auto constant = [](int) { return 3.0; };
  EXPECT_EQ(freezes_at(VarianceWatch(kBeta2, {.freeze_step = 7, .lr_warmup_steps = 50}), constant),
            7);
  EXPECT_EQ(freezes_at(VarianceWatch(kBeta2, {.freeze_step = 900}), constant), 900);
  EXPECT_EQ(freezes_at(VarianceWatch(kBeta2, {.freeze_step = -1}), constant), -1);
}

TEST(VarianceWatch, WithoutGradientsThereIsNothingToFreeze) {
  EXPECT_EQ(freezes_at(VarianceWatch(kBeta2, {}), [](int) { return 0.0; }), -1);
}

TEST(VarianceWatch, NormIsTheBiasCorrectedMean) {
  VarianceWatch watch(kBeta2, {.freeze_step = -1});
  const auto norm = [](int t) { return 2.0 + std::sin(t); };
  EXPECT_EQ(watch.norm(), 0.0);
  for (int t = 1; t <= 300; ++t) {
    watch.observe(t, norm(t));
    ASSERT_NEAR(watch.norm(), naive_norm(norm, t), 1e-12);
  }
  EXPECT_EQ(watch.updates(), 300);
  EXPECT_THROW(watch.observe(301, std::nan("")), Error);
}

TEST(VarianceWatch, ThawsWhenTheNormHasBeenFarOffForAWindow) {
  for (const double factor : {8.0, 0.1}) {
    VarianceWatch watch(kBeta2, {});
    int thawed = 0, frozen = 0, first_far = 0;
    const auto norm = [&](int t) { return t <= 1000 ? 1.0 : factor; };
    for (int t = 1; t <= 4000; ++t) {
      watch.observe(t, norm(t));
      const double drift = t > 1000 && first_far == 0 ? naive_norm(norm, t) : 1.0;
      if (first_far == 0 && (drift > 2.0 || drift < 0.5)) first_far = t;
      if (thawed == 0 && t > 200 && !watch.frozen()) thawed = t;
      if (thawed > 0 && frozen == 0 && watch.frozen()) frozen = t;
      if (t > 200 && t <= 1000) {
        ASSERT_EQ(watch.updates(), 200) << t;
      }
    }
    EXPECT_NEAR(thawed, first_far + 99, 1);
    EXPECT_GE(frozen, thawed + 200);
    EXPECT_EQ(watch.updates(), 200 + frozen - thawed);
    EXPECT_NEAR(watch.norm(), factor, 0.05 * factor);
    EXPECT_THAT(watch.take_log_message(), testing::HasSubstr("frozen after"));
    EXPECT_EQ(watch.take_log_message(), "");
  }
}

// Held, v moves; let go, it is frozen at once if the configured step has passed, else by the
// rule.
TEST(VarianceWatch, HeldItIsNotFrozenAndThaws) {
  for (const std::int64_t freeze_step : {0, 300}) {
    VarianceWatch watch(kBeta2, {.freeze_step = freeze_step});
    watch.hold(true);
    int t = 0;
    while (t < 1000)
      watch.observe(++t, 1.0);
    EXPECT_FALSE(watch.frozen());
    EXPECT_EQ(watch.updates(), 1000);
    EXPECT_EQ(watch.take_log_message(), "");
    watch.hold(false);
    watch.observe(++t, 1.0);
    EXPECT_TRUE(watch.frozen());
    EXPECT_EQ(watch.updates(), 1001);
    watch.take_log_message();
    watch.hold(true);
    watch.observe(++t, 1.0);
    EXPECT_FALSE(watch.frozen());
    EXPECT_EQ(watch.take_log_message(),
              "second moment thawed after 1002 updates: steps are to stay dense");
    watch.observe(++t, 1.0);
    EXPECT_EQ(watch.updates(), 1002);
  }
}

TEST(VarianceWatch, ASpikeDoesNotThaw) {
  VarianceWatch watch(kBeta2, {});
  for (int t = 1; t <= 3000; ++t) {
    watch.observe(t, t == 1000 ? 200.0 : 1.0);
    ASSERT_EQ(watch.frozen(), t >= 200) << t;
  }
}

TEST(VarianceWatch, WithoutAThawRatioItStaysFrozen) {
  VarianceWatch watch(kBeta2, {.thaw_ratio = 0.0});
  for (int t = 1; t <= 3000; ++t)
    watch.observe(t, t < 500 ? 1.0 : 100.0);
  EXPECT_TRUE(watch.frozen());
}

TEST(VarianceWatch, AfterAThawTheRuleDecidesEvenWhereTheFirstFreezeWasFixed) {
  VarianceWatch watch(kBeta2, {.freeze_step = 10});
  std::vector<int> changes;
  for (int t = 1; t <= 3000; ++t) {
    const bool before = watch.frozen();
    watch.observe(t, t < 500 ? 1.0 : 9.0);
    if (watch.frozen() != before) changes.push_back(t);
    ASSERT_EQ(watch.just_frozen(), watch.frozen() && !before) << t;
  }
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_EQ(changes[0], 10);
  EXPECT_GE(changes[2], changes[1] + 200);
}

TEST(VarianceWatch, StateContinuesBitForBit) {
  Runtime runtime;
  const auto norm = [](int t) { return (t < 900 ? 1.0 : 7.0) * (1.0 + 0.3 * std::sin(t)); };
  VarianceWatch whole(kBeta2, {});
  auto cut = std::make_unique<VarianceWatch>(kBeta2, FreezeConfig{});
  for (int t = 1; t <= 3000; ++t) {
    whole.observe(t, norm(t));
    cut->observe(t, norm(t));
    if (t % 37 == 0) {
      test::StateCopy saved(runtime.context());
      cut->visit_state(saved, "watch");
      cut = std::make_unique<VarianceWatch>(kBeta2, FreezeConfig{});
      saved.restoring = true;
      cut->visit_state(saved, "watch");
    }
    ASSERT_EQ(whole.frozen(), cut->frozen()) << t;
    ASSERT_EQ(whole.just_frozen(), cut->just_frozen()) << t;
    ASSERT_EQ(whole.norm(), cut->norm()) << t;
  }
  EXPECT_GT(whole.updates(), 200);  // it has thawed
}

}  // namespace
}  // namespace gradwire
