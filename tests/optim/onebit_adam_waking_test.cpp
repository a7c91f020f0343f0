// 1-bit Adam if a coordinate gets its first gradients after the freeze: its tensor goes back to
// AdamW's steps until its own second moment has settled, and the others do not notice.
#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "optim/onebit_adam.h"
#include "tests/optim/replicas.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using test::noisy_gradient;
using test::Replica;
using test::Replicas;

constexpr int kFrozenAt = 20;
constexpr int kWakesAt = 61;        // the step of the first gradient
constexpr int kWindow = 20;         // 1 / (1 - beta2)
constexpr std::size_t kOfC = 42;    // where the values of "c" begin
constexpr std::size_t kWaking = 3;  // the coordinate of "c"

// Coordinate 3 of "c" has gradients from kWakesAt on, of rank 1 alone.
double waking_gradient(int rank, int step, std::size_t p, std::int64_t i) {
  if (p == 2 && i == 3 && step >= kWakesAt) return rank == 1 ? 0.5 : 0.0;
  return noisy_gradient(rank, step, p, i);
}

Replicas::Make onebit(double thaw_ratio = 0.0) {
  const OnebitAdamConfig config{.adam = {.beta2 = 0.95, .weight_decay = 0.0},
                                .freeze = {.freeze_step = kFrozenAt, .thaw_ratio = thaw_ratio}};
  return
      [config](Context& cx, const Replica& r) { return make_onebit_adam(cx, r.buckets, config); };
}

class WakingTensor : public testing::Test {
 protected:
  // Whether the element of bucket 1 takes part in the exchange of the next step, which must not be
  // taken after that.
  static bool takes_part(const Exchange& e, std::size_t i) {
    return (static_cast<const std::uint8_t*>(e.live.raw())[i / 8] >> (i % 8) & 1) != 0;
  }
  Runtime runtime;
  Context& cx = runtime.context();
};

TEST_F(WakingTensor, IsExchangedAsItIsUntilItHasSettled) {
  Replicas ranks(cx, 2, onebit(), waking_gradient);
  int settled_at = 0;
  for (int step = 1; step <= 200; ++step) {
    const bool awake = ranks.state().texts.at("onebit_adam/c/awake") != "" && settled_at == 0;
    if (step > kFrozenAt) {
      ASSERT_TRUE(ranks.optimizer().needs(true).exchange) << step;
      ASSERT_FALSE(ranks.optimizer().needs(true).gradients) << step;
    }
    EXPECT_EQ(awake, step > kWakesAt && settled_at == 0) << step;
    ranks.step(step);
    ranks.expect_equal(step);
    EXPECT_EQ(ranks.state().texts.at("onebit_adam/a/awake"), "");
    if (step > kWakesAt && ranks.state().texts.at("onebit_adam/c/awake") == "settled")
      settled_at = step;
  }
  EXPECT_GE(settled_at, kWakesAt + 2 * kWindow);
  EXPECT_LE(settled_at, kWakesAt + 4 * kWindow);
  EXPECT_THAT(ranks.messages,
              testing::HasSubstr("after 61 updates, second moment thawed, until it has "
                                 "settled, for first gradients within 'c'"));
  EXPECT_THAT(ranks.messages, testing::HasSubstr("second moment settled and frozen again of 'c'"));
}

// Its coordinates take no part while it is awake, and all that have gradients do afterwards; what
// the reducer carries over for it starts anew both times, and only then.
TEST_F(WakingTensor, TakesPartAgainWithAllItsCoordinates) {
  Replicas ranks(cx, 2, onebit(), waking_gradient);
  int renewals = 0;
  for (int step = 1; step <= 200; ++step) {
    ranks.step(step);
    if (step < kFrozenAt) continue;
    // One that is asked and does not step: of a copy.
    Replicas asked(cx, 1, onebit(), waking_gradient);
    test::StateCopy state = ranks.state();
    state.restoring = true;
    asked.optimizer().visit_state(state);
    const auto exchanges = asked.optimizer().exchange(cx, {.step = step + 1});
    const bool awake = !exchanges[1]->beside.empty();
    EXPECT_TRUE(exchanges[0]->renewed.empty());
    EXPECT_TRUE(exchanges[0]->beside.empty());
    EXPECT_EQ(takes_part(*exchanges[1], kWaking), step > kWakesAt && !awake) << step;
    EXPECT_EQ(takes_part(*exchanges[1], kWaking + 1), !awake) << step;
    EXPECT_EQ(std::get<Momentum>(exchanges[1]->what).as_agreed,
              exchanges[1]->renewed.empty() && step > kFrozenAt);
    renewals += static_cast<int>(exchanges[1]->renewed.size());
    if (exchanges[1]->renewed.empty()) continue;
    EXPECT_EQ(exchanges[1]->renewed[0].begin, 0);
    EXPECT_EQ(exchanges[1]->renewed[0].end, Replica::kSizes[2]);
  }
  EXPECT_EQ(renewals, 2);
}

TEST_F(WakingTensor, TrainsAsUnderAdamWAndLeavesTheOthersAlone) {
  Replicas ranks(cx, 2, onebit(), waking_gradient);
  Replicas undisturbed(cx, 2, onebit(), noisy_gradient);
  struct {
    double value = 0.0, m = 0.0, v = 0.0;
  } naive;
  naive.value = static_cast<double>(ranks.values()[kOfC + kWaking]);
  for (int step = 1; step <= kWakesAt + 2 * kWindow; ++step) {
    ranks.step(step);
    undisturbed.step(step);
    const std::vector<float> now = ranks.values(), same = undisturbed.values();
    ASSERT_TRUE(std::equal(now.begin(), now.begin() + kOfC, same.begin())) << step;
    if (step > kWakesAt) {  // the first gradient but tells of itself
      naive.m = 0.9 * naive.m + 0.1 * 0.25;
      naive.v = 0.95 * naive.v + 0.05 * 0.25 * 0.25;
    }
    const double m_hat = naive.m / (1.0 - std::pow(0.9, step));
    const double v_hat = naive.v / (1.0 - std::pow(0.95, kFrozenAt + step - kWakesAt));
    if (step > kWakesAt) naive.value -= ranks.lr * m_hat / (std::sqrt(v_hat) + 1e-8);
    ASSERT_TRUE(test::agrees(now[kOfC + kWaking], naive.value, test::tolerance(DType::kF32, step)))
        << step << ": " << now[kOfC + kWaking] << " against " << naive.value;
  }
}

// Frozen again, its second moment gets the bias correction of the others: what it stands for does
// not change.
TEST_F(WakingTensor, StepsNoOtherwayWhenItIsFrozenAgain) {
  Replicas ranks(cx, 2, onebit(), waking_gradient);
  double last = 0.0, before = static_cast<double>(ranks.values()[kOfC + kWaking]);
  for (int step = 1; step <= 200; ++step) {
    ranks.step(step);
    const double now = static_cast<double>(ranks.values()[kOfC + kWaking]);
    // A gradient that is always the same: from the time at which both moments have seen it.
    if (step > kWakesAt + 2 * kWindow) {
      EXPECT_NEAR((before - now) / last, 1.0, 0.02) << step;
    }
    last = before - now;
    before = now;
  }
  EXPECT_NEAR(last, ranks.lr, 0.15 * ranks.lr);
}

TEST_F(WakingTensor, ResumesBitForBitInEveryStep) {
  for (const double thaw_ratio : {0.0, 1.2}) {
    Replicas whole(cx, 3, onebit(thaw_ratio), waking_gradient);
    Replicas cut(cx, 3, onebit(thaw_ratio), waking_gradient);
    for (int step = 1; step <= 200; ++step) {
      whole.step(step);
      cut.step(step);
      cut.reload();
      cut.expect_equal(step);
      ASSERT_EQ(whole.values(), cut.values()) << step;
    }
    EXPECT_TRUE(whole.state() == cut.state());
    EXPECT_THAT(whole.messages, testing::HasSubstr("settled and frozen again"));
  }
}

// The second moments of all thaw while that of one tensor moves anyway.
TEST_F(WakingTensor, GoesOnWithTheOthersWhenAllThaw) {
  const auto grows = [](int r, int step, std::size_t p, std::int64_t i) {
    return waking_gradient(r, step, p, i) * (step > 45 ? 4.0 : 1.0);
  };
  Replicas ranks(cx, 2, onebit(2.0), grows);
  for (int step = 1; step <= 300; ++step) {
    ranks.step(step);
    ranks.expect_equal(step);
    if (ranks.optimizer().needs(true).gradients) {
      EXPECT_EQ(ranks.state().texts.at("onebit_adam/c/awake"), "") << step;
    }
  }
  EXPECT_THAT(ranks.messages, testing::AllOf(testing::HasSubstr("first gradients within 'c'"),
                                             testing::HasSubstr("second moment thawed after"),
                                             testing::Not(testing::HasSubstr("frozen again of"))));
  EXPECT_TRUE(ranks.optimizer().needs(true).exchange);
}

}  // namespace
}  // namespace gradwire
