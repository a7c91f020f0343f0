#include "optim/zero_one_adam.h"

#include <cmath>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "optim/onebit_adam.h"
#include "optim/zero_one_kernels.h"
#include "tests/optim/replicas.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using test::noisy_gradient;
using test::Replica;
using test::Replicas;

constexpr double kBeta1 = 0.9, kBeta2 = 0.95, kDecay = 0.1;

ZeroOneAdamConfig small_schedule() {
  return {.adam = {.beta2 = kBeta2, .weight_decay = kDecay, .no_decay = {"*.bias"}},
          .var_freeze_step = 20,
          .var_update_scaler = 2,
          .local_step_start = 25,
          .local_step_scaler = 10,
          .local_step_clipper = 4};
}

Replicas::Make zero_one(const ZeroOneAdamConfig& config) {
  return
      [config](Context& cx, const Replica& r) { return make_zero_one_adam(cx, r.buckets, config); };
}

// 'g': gradients, 'x': exchange, '.': neither.
char next_of(const Optimizer& o, bool settle = false) {
  const StepNeeds n = o.needs(settle);
  return n.gradients ? 'g' : n.exchange ? 'x' : '.';
}

class ZeroOneAdam : public testing::Test {
 protected:
  Runtime runtime;
  Context& cx = runtime.context();
};

TEST_F(ZeroOneAdam, FollowsItsSchedule) {
  Replicas ranks(cx, 1, zero_one(small_schedule()), noisy_gradient);
  std::string steps;
  for (int step = 1; step <= 66; ++step) {
    steps += next_of(ranks.optimizer());
    ranks.step(step);
  }
  //                 1         11        21        31        41        51        61
  EXPECT_EQ(steps, "ggxgxgxxxgxxxgxxxxxxxxxxxxxxxxxxxx.x.x.x.x.x...x...x...x...x...x..");
  EXPECT_EQ(ranks.messages,
            "second moment frozen after 20 updates, 6 of them refreshes of it"
            "the ranks agree every 2 updates from update 35 on"
            "the ranks agree every 4 updates from update 45 on");
}

// Held dense, every update is a refresh, which makes it AdamW; held in the middle of local steps,
// the ranks agree first.
TEST_F(ZeroOneAdam, HeldDenseItRefreshesInEveryUpdate) {
  Replicas held(cx, 2, zero_one(small_schedule()), noisy_gradient);
  const AdamWConfig adam = small_schedule().adam;
  const auto adamw = [adam](Context& c, const Replica& r) {
    return make_onebit_adam(c, r.buckets, {.adam = adam, .freeze = {.freeze_step = -1}});
  };
  Replicas want(cx, 2, adamw, noisy_gradient);
  const auto hold = [&](bool dense) {
    for (int r = 0; r < 2; ++r)
      held.optimizer(r).hold_dense(dense);
  };
  hold(true);
  int step = 0;
  while (step < 40) {
    EXPECT_EQ(next_of(held.optimizer()), 'g');
    held.step(++step);
    want.step(step);
    ASSERT_EQ(held.values(), want.values()) << step;
  }
  EXPECT_EQ(held.messages, "");
  hold(false);
  std::string steps;
  while (step < 46) {
    steps += next_of(held.optimizer());
    held.step(++step);
  }
  EXPECT_EQ(steps, ".x.x..");
  hold(true);
  EXPECT_EQ(next_of(held.optimizer()), 'x');
  held.step(++step);
  EXPECT_EQ(next_of(held.optimizer()), 'g');
  held.step(++step);
  held.expect_equal(step);
}

// Ranks as they would be: each makes AdamW's steps by its own momentum, and at an agreement all
// take the mean of their values, and of their momenta weighted by what each has added.
struct NaiveElement {
  std::vector<double> value, m, sum;
  double v = 0.0, weight = 0.0;

  void step(char kind, const std::vector<double>& g, int t, int refreshes, double lr, double decay,
            bool one_bit_or_refresh) {
    const std::size_t n = value.size();
    double mean = 0.0;
    for (const double x : g)
      mean += x / static_cast<double>(n);
    if (kind == 'g') v = kBeta2 * v + (1.0 - kBeta2) * mean * mean;
    const double d = std::sqrt(v / (1.0 - std::pow(kBeta2, refreshes))) + 1e-8;
    const double w = lr / (1.0 - std::pow(kBeta1, t));
    const double keep = 1.0 - lr * decay;
    for (std::size_t r = 0; r < n; ++r) {
      const double gradient = one_bit_or_refresh ? mean : g[r];
      if (v != 0.0) m[r] = kBeta1 * m[r] + (1.0 - kBeta1) * gradient;
      value[r] = keep * value[r] - w * m[r] / d;
      sum[r] = keep * sum[r] + w * m[r];
    }
    weight = keep * weight + w;
    if (kind == '.') return;
    double mean_value = 0.0, mean_m = 0.0;
    for (std::size_t r = 0; r < n; ++r) {
      mean_value += value[r] / static_cast<double>(n);
      mean_m += sum[r] / weight / static_cast<double>(n);
    }
    value.assign(n, mean_value);
    m.assign(n, mean_m);
    sum.assign(n, 0.0);
    weight = 0.0;
  }
};

void expect_follows_the_equations(Context& cx, int kRanks) {
  constexpr int kSteps = 90;
  Replicas ranks(cx, kRanks, zero_one(small_schedule()), noisy_gradient);
  ranks.grad_scale = 0.5;
  const auto n = static_cast<std::size_t>(kRanks);
  std::vector<NaiveElement> want;
  for (const float x : ranks.values()) {
    want.push_back({.value = std::vector<double>(n, static_cast<double>(x)),
                    .m = std::vector<double>(n),
                    .sum = std::vector<double>(n)});
  }
  int refreshes = 0;
  for (int step = 1; step <= kSteps; ++step) {
    const bool settle = step % 17 == 0;
    const char kind = next_of(ranks.optimizer(), settle);
    refreshes += kind == 'g' ? 1 : 0;
    ranks.step(step, settle);
    std::size_t at = 0;
    for (std::size_t p = 0; p < 3; ++p) {
      for (std::int64_t i = 0; i < Replica::kSizes[p]; ++i) {
        std::vector<double> g;
        for (int r = 0; r < kRanks; ++r)
          g.push_back(0.5 * static_cast<double>(static_cast<float>(noisy_gradient(r, step, p, i))));
        want[at++].step(kind, g, step, refreshes, ranks.lr, p == 1 ? 0.0 : kDecay, step <= 25);
      }
    }
    for (int r = 0; r < kRanks; ++r) {
      const std::vector<float> got = ranks.values(r);
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(test::agrees(got[i], want[i].value[static_cast<std::size_t>(r)],
                                 test::tolerance(DType::kF32, kSteps)))
            << "step " << step << " rank " << r << " [" << i << "]: " << got[i];
      }
    }
  }
}

TEST_F(ZeroOneAdam, FollowsTheEquationsOnThreeRanks) {
  expect_follows_the_equations(cx, 3);
}

TEST_F(ZeroOneAdam, FollowsTheEquationsAlone) {
  expect_follows_the_equations(cx, 1);
}

TEST_F(ZeroOneAdam, ReplicasAreEqualBitForBitWheneverItIsSettled) {
  Replicas ranks(cx, 3, zero_one(small_schedule()), noisy_gradient);
  ranks.noise = [](std::int64_t i) { return i % 2 == 0 ? 0.05 : -0.05; };
  int apart = 0, agreements = 0;
  for (int step = 1; step <= 300; ++step) {
    ranks.step(step, step % 50 == 0);
    if (!ranks.optimizer().settled()) {
      EXPECT_NE(step % 50, 0);
      EXPECT_NE(ranks.values(0), ranks.values(1)) << step;
      EXPECT_THROW(ranks.state(), Error);
      ++apart;
      continue;
    }
    ++agreements;
    ranks.expect_equal(step);
    for (int r = 1; r < 3; ++r)
      ASSERT_TRUE(ranks.state(0) == ranks.state(r)) << step;
  }
  EXPECT_GT(apart, 180);
  EXPECT_GT(agreements, 90);
}

TEST_F(ZeroOneAdam, ResumesBitForBitFromWhereverItIsSettled) {
  Replicas whole(cx, 3, zero_one(small_schedule()), noisy_gradient);
  Replicas cut(cx, 3, zero_one(small_schedule()), noisy_gradient);
  for (int step = 1; step <= 150; ++step) {
    const bool save = step % 7 == 0;
    whole.step(step, save);
    cut.step(step, save);
    if (save) cut.reload();
    if (cut.optimizer().settled()) cut.expect_equal(step);
    ASSERT_EQ(whole.values(2), cut.values(2)) << step;
  }
}

TEST_F(ZeroOneAdam, WithoutLocalStepsAndWithEveryRefreshItIsOnebitAdam) {
  ZeroOneAdamConfig config = small_schedule();
  config.var_update_scaler = 1000;
  config.local_step_clipper = 1;
  Replicas ranks(cx, 2, zero_one(config), noisy_gradient);
  Replicas onebit(
      cx, 2,
      [&](Context& c, const Replica& r) {
        return make_onebit_adam(
            c, r.buckets, {.adam = config.adam, .freeze = {.freeze_step = 20, .thaw_ratio = 0.0}});
      },
      noisy_gradient);
  for (int step = 1; step <= 60; ++step) {
    ranks.step(step);
    onebit.step(step);
    ASSERT_EQ(ranks.values(), onebit.values()) << step;
  }
}

TEST_F(ZeroOneAdam, CoordinatesWithoutGradientStayAsTheyAre) {
  ZeroOneAdamConfig config = small_schedule();
  config.adam.weight_decay = 0.0;
  Replicas ranks(cx, 2, zero_one(config), noisy_gradient);
  ranks.noise = [](std::int64_t) { return 0.1; };
  const std::vector<float> before = ranks.values();
  for (int step = 1; step <= 100; ++step)
    ranks.step(step);
  const std::vector<float> after = ranks.values();
  for (const std::size_t dead : {3U, 37U + 3U, 42U + 3U})
    EXPECT_EQ(std::memcmp(&after[dead], &before[dead], sizeof(float)), 0) << dead;
  EXPECT_NE(after[4], before[4]);
}

// With its first gradients on one rank alone, when the second moment has stood still for long: it
// is not divided by eps, nor left where it is.
TEST_F(ZeroOneAdam, ACoordinateThatWakesUpTrains) {
  ZeroOneAdamConfig config = small_schedule();
  config.adam.weight_decay = 0.0;
  const auto wakes = [](int r, int step, std::size_t p, std::int64_t i) {
    return i == 3 && p == 2 && step > 60 ? (r == 1 ? 0.5 : 0.0) : noisy_gradient(r, step, p, i);
  };
  Replicas ranks(cx, 2, zero_one(config), wakes);
  constexpr std::size_t kWaking = 42 + 3;
  const float at_first = ranks.values()[kWaking];
  float before = at_first;
  for (int step = 1; step <= 160; ++step) {
    ranks.step(step, step == 160);
    const float now = ranks.values()[kWaking];
    EXPECT_LE(std::abs(now - before), 4.0 * ranks.lr) << step;
    before = now;
    if (step <= 60) {
      ASSERT_EQ(now, at_first) << step;
    }
  }
  ranks.expect_equal(160);
  EXPECT_LT(before, at_first - 40.0 * ranks.lr);
  EXPECT_THAT(ranks.messages, testing::HasSubstr("first gradients within 'c'"));
}

TEST_F(ZeroOneAdam, AStepWithoutLearningRateKeepsTheMomentum) {
  Replicas ranks(cx, 2, zero_one(small_schedule()), noisy_gradient);
  for (int step = 1; step <= 100; ++step)
    ranks.step(step, step == 100);
  const std::vector<float> before = ranks.values();
  const std::vector<float> m = ranks.state().tensors.at("zero_one_adam/c/m");
  ranks.lr = 0.0;
  ranks.step(101, true);
  EXPECT_EQ(ranks.values(), before);
  const std::vector<float> now = ranks.state().tensors.at("zero_one_adam/c/m");
  for (std::size_t i = 0; i < m.size(); ++i) {
    const auto element = static_cast<std::int64_t>(i);
    const double g = (noisy_gradient(0, 101, 2, element) + noisy_gradient(1, 101, 2, element)) / 2;
    EXPECT_TRUE(test::agrees(now[i], 0.9 * static_cast<double>(m[i]) + 0.1 * g,
                             test::tolerance(DType::kF32, 4)))
        << i;
  }
}

TEST_F(ZeroOneAdam, RefusesSchedulesThatCannotBeFollowed) {
  const Replica r(cx);
  const auto refuses = [&](auto change) {
    ZeroOneAdamConfig config = small_schedule();
    change(config);
    EXPECT_THROW(make_zero_one_adam(cx, r.buckets, config), Error);
  };
  refuses([](auto& c) { c.var_freeze_step = 0; });
  refuses([](auto& c) { c.local_step_start = 19; });
  refuses([](auto& c) { c.local_step_scaler = 0; });
  refuses([](auto& c) { c.local_step_clipper = 0; });
  refuses([](auto& c) { c.adam.beta2 = 1.0; });
}

TEST(ZeroOneKernels, InstructionSetsAgree) {
  constexpr std::int64_t kSize = 5003;  // more than a block
  const ZeroOneMath math{.beta1 = 0.9F,
                         .one_minus_beta1 = 0.1F,
                         .grad_scale = 0.5F,
                         .keep_u = 0.99F,
                         .weight = 0.01F,
                         .inv_sum = 1.0F,
                         .keep = 0.99F,
                         .gain = 1.0F,
                         .inv_sqrt_bc2 = 2.0F,
                         .eps = 1e-8F};
  const auto run = [&](const ZeroOneKernels& k) {
    std::vector<float> value(kSize, 1.0F), grad(kSize), m(kSize), v(kSize), u(kSize);
    for (std::size_t i = 0; i < kSize; ++i) {
      grad[i] = std::sin(static_cast<float>(i));
      v[i] = i % 5 == 0 ? 0.0F : 0.01F * static_cast<float>(i);
    }
    const std::vector<float> anchor = value;
    const ZeroOneArrays a{value.data(), grad.data(), m.data(), v.data(), u.data(), anchor.data()};
    k.local(math, a, 1, kSize - 1);
    k.local(math, a, 1, kSize - 1);
    k.collect(math, a, 1, kSize - 1);
    k.settle(math, a, 1, kSize - 1);
    EXPECT_EQ(value.front(), 1.0F);
    EXPECT_EQ(value.back(), 1.0F);
    for (std::size_t i = 1; i + 1 < kSize; ++i)
      EXPECT_EQ(m[i], v[i] != 0.0F ? u[i] : 0.0F) << i;
    return value;
  };
  const std::vector<float> v2 = run(isa_v2::zero_one_kernels);
  const auto expect_near_v2 = [&](const std::vector<float>& other) {
    for (std::size_t i = 0; i < kSize; ++i)
      EXPECT_TRUE(test::agrees(other[i], v2[i], test::tolerance(DType::kF32, 4))) << i;
  };
  if (detect_isa() >= Isa::kV3) expect_near_v2(run(isa_v3::zero_one_kernels));
  if (detect_isa() >= Isa::kV4) expect_near_v2(run(isa_v4::zero_one_kernels));
}

}  // namespace
}  // namespace gradwire
