#include "optim/onebit_adam.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "optim/adamw.h"
#include "optim/onebit_kernels.h"
#include "tests/optim/replicas.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using test::noisy_gradient;
using test::Replica;
using test::Replicas;
using test::StateCopy;

OnebitAdamConfig frozen_after(std::int64_t step) {
  return {.adam = {.beta2 = 0.95, .weight_decay = 0.1, .no_decay = {"*.bias"}},
          .freeze = {.freeze_step = step, .thaw_ratio = 0.0}};
}

Replicas::Make onebit(const OnebitAdamConfig& config) {
  return
      [config](Context& cx, const Replica& r) { return make_onebit_adam(cx, r.buckets, config); };
}

class OnebitAdam : public testing::Test {
 protected:
  Runtime runtime;
  Context& cx = runtime.context();
};

// The rule as the paper has it, over one coordinate, in double.
struct NaiveElement {
  double value, m = 0.0, v = 0.0;
  void step(double g, int t, int frozen_at, double lr, double decay) {
    m = 0.9 * m + 0.1 * g;
    if (t <= frozen_at) v = 0.95 * v + 0.05 * g * g;
    const double v_hat = v / (1.0 - std::pow(0.95, std::min(t, frozen_at)));
    const double m_hat = m / (1.0 - std::pow(0.9, t));
    value = value - lr * decay * value - lr * m_hat / (std::sqrt(v_hat) + 1e-8);
  }
};

TEST_F(OnebitAdam, DenseStepsAreAdamWsBitForBit) {
  OnebitAdamConfig config = frozen_after(-1);
  Replicas one(cx, 2, onebit(config), noisy_gradient);
  Replicas dense(
      cx, 2, [&](Context& c, const Replica& r) { return make_adamw(c, r.list(), config.adam); },
      noisy_gradient);
  for (int step = 1; step <= 40; ++step) {
    one.grad_scale = dense.grad_scale = step % 3 == 0 ? 0.37 : 1.0;
    one.step(step);
    dense.step(step);
    ASSERT_EQ(one.values(), dense.values()) << step;
  }
  const StateCopy a = one.state(), b = dense.state();
  EXPECT_EQ(a.tensors.at("onebit_adam/c/m"), b.tensors.at("adamw/c/m"));
  EXPECT_EQ(a.tensors.at("onebit_adam/b.bias/v"), b.tensors.at("adamw/b.bias/v"));
}

// Held dense it is AdamW for good; let go, it freezes where it would have.
TEST_F(OnebitAdam, HeldDenseItGoesOnAsAdamW) {
  Replicas held(cx, 2, onebit(frozen_after(3)), noisy_gradient);
  Replicas never(cx, 2, onebit(frozen_after(-1)), noisy_gradient);
  for (int step = 1; step <= 20; ++step) {
    for (int r = 0; r < 2; ++r)
      held.optimizer(r).hold_dense(true);
    EXPECT_TRUE(held.optimizer().needs(true).gradients);
    EXPECT_FALSE(held.optimizer().needs(true).exchange);
    held.step(step);
    never.step(step);
    ASSERT_EQ(held.values(), never.values()) << step;
  }
  for (int r = 0; r < 2; ++r)
    held.optimizer(r).hold_dense(false);
  held.step(21);
  EXPECT_TRUE(held.optimizer().needs(false).exchange);
}

TEST_F(OnebitAdam, FollowsThePaperThroughBothStages) {
  constexpr int kFrozenAt = 6, kSteps = 60, kRanks = 3;
  Replicas ranks(cx, kRanks, onebit(frozen_after(kFrozenAt)), noisy_gradient);
  ranks.grad_scale = 0.5;
  std::vector<NaiveElement> want;
  for (const float x : ranks.values())
    want.push_back({.value = static_cast<double>(x)});
  for (int step = 1; step <= kSteps; ++step) {
    ranks.step(step);
    std::size_t at = 0;
    for (std::size_t p = 0; p < 3; ++p) {
      for (std::int64_t i = 0; i < Replica::kSizes[p]; ++i) {
        double mean = 0.0;
        for (int r = 0; r < kRanks; ++r)
          mean +=
              0.5 * static_cast<double>(static_cast<float>(noisy_gradient(r, step, p, i))) / kRanks;
        want[at++].step(mean, step, kFrozenAt, ranks.lr, p == 1 ? 0.0 : 0.1);
      }
    }
    ranks.expect_equal(step);
  }
  const std::vector<float> got = ranks.values();
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(test::agrees(got[i], want[i].value, test::tolerance(DType::kF32, kSteps)))
        << i << ": " << got[i] << " against " << want[i].value;
  }
}

TEST_F(OnebitAdam, AsksForGradientsThenForTheMomentum) {
  Replicas ranks(cx, 1, onebit(frozen_after(3)), noisy_gradient);
  Optimizer& o = ranks.optimizer();
  for (int step = 1; step <= 3; ++step) {
    EXPECT_TRUE(o.needs(false).gradients);
    EXPECT_FALSE(o.needs(true).exchange);
    EXPECT_THROW(o.exchange(cx, {}), Error);
    EXPECT_EQ(ranks.messages, "");
    ranks.step(step);
  }
  EXPECT_EQ(ranks.messages, "second moment frozen after 3 updates: as configured");
  EXPECT_FALSE(o.needs(false).gradients);
  EXPECT_TRUE(o.needs(false).exchange);
  const auto exchanges = o.exchange(cx, {.step = 4, .grad_scale = 0.25});
  ASSERT_EQ(exchanges.size(), 2U);
  EXPECT_EQ(contribution_of(*exchanges[0]).value.raw(), ranks[0].buckets[0].flat.raw());
  EXPECT_EQ(contribution_of(*exchanges[0]).weight, 0.25F);
  EXPECT_EQ(contribution_of(*exchanges[1]).momentum.numel(), ranks[0].buckets[1].numel());
  EXPECT_EQ(contribution_of(*exchanges[1]).beta, 0.9F);
}

TEST_F(OnebitAdam, TheFrozenSecondMomentNeverMovesNorItsBiasCorrection) {
  constexpr int kFrozenAt = 3, kSteps = 200;
  Replicas ranks(cx, 2, onebit(frozen_after(kFrozenAt)), noisy_gradient);
  std::map<std::string, std::vector<float>> at_freeze;
  std::vector<float> before;
  for (int step = 1; step <= kSteps; ++step) {
    if (step == kSteps) before = ranks.values();
    ranks.step(step);
    const auto now = ranks.state().tensors;
    if (step == kFrozenAt) at_freeze = now;
    if (step > kFrozenAt) {
      for (const char* name : Replica::kNames) {
        const std::string v = std::string("onebit_adam/") + name + "/v";
        ASSERT_EQ(now.at(v), at_freeze.at(v)) << step;
      }
    }
  }
  // "c" is the last parameter; the correction at T = 3 is 2.6, one that went on would be 1.
  const auto state = ranks.state().tensors;
  const std::vector<float> after = ranks.values();
  for (std::size_t i = 4; i < 100; ++i) {
    const double m = state.at("onebit_adam/c/m")[i], v = state.at("onebit_adam/c/v")[i];
    const double old_value = before[42 + i];
    const double want = old_value * (1.0 - 0.01 * 0.1) -
                        0.01 * m / (std::sqrt(v / (1.0 - std::pow(0.95, kFrozenAt))) + 1e-8);
    EXPECT_TRUE(test::agrees(after[42 + i], want, test::tolerance(DType::kF32))) << i;
  }
}

TEST_F(OnebitAdam, CoordinatesWithoutGradientStayAsTheyAreHoweverLossyTheExchange) {
  OnebitAdamConfig config = frozen_after(4);
  config.adam.weight_decay = 0.0;
  Replicas ranks(cx, 2, onebit(config), noisy_gradient);
  ranks.noise = [](std::int64_t i) { return i % 2 == 0 ? 0.25 : -0.25; };
  const std::vector<float> before = ranks.values();
  for (int step = 1; step <= 30; ++step)
    ranks.step(step);
  const std::vector<float> after = ranks.values();
  for (const std::size_t dead : {3U, 37U + 3U, 42U + 3U})
    EXPECT_EQ(std::memcmp(&after[dead], &before[dead], sizeof(float)), 0) << dead;
  EXPECT_NE(after[4], before[4]);
  const auto exchanges = ranks.optimizer().exchange(cx, {.step = 31});
  const Tensor& live = exchanges[0]->live;
  for (std::int64_t i = 0; i < contribution_of(*exchanges[0]).value.numel(); ++i) {
    const bool used = (i < 37 && i != 3) || (i >= 48 && i < 53 && i != 51);
    EXPECT_EQ((static_cast<const std::uint8_t*>(live.raw())[i / 8] >> (i % 8) & 1) != 0, used) << i;
  }
}

// Its second moment has decayed to almost nothing by the freeze, but not to 0: it takes part, and
// gets a bit of its neighbours' size in every exchange. That moves it by 16 learning rates at most.
TEST_F(OnebitAdam, CoordinatesLongWithoutGradientAreNotThrownAbout) {
  constexpr int kFrozenAt = 400;
  constexpr double kBit = 0.1;
  OnebitAdamConfig config = frozen_after(kFrozenAt);
  config.adam.weight_decay = 0.0;
  const auto gradient = [](int rank, int step, std::size_t p, std::int64_t i) {
    if (i == 0) return step <= 5 ? 1.0 : 0.0;
    return noisy_gradient(rank, step, p, i);
  };
  Replicas ranks(cx, 2, onebit(config), gradient);
  for (int step = 1; step <= kFrozenAt; ++step)
    ranks.step(step);
  for (int step = kFrozenAt + 1; step <= kFrozenAt + 10; ++step) {
    ranks.noise = [step](std::int64_t) { return step % 2 == 0 ? kBit : -kBit; };
    const std::vector<float> before = ranks.values();
    ranks.step(step);
    const std::vector<float> after = ranks.values();
    for (const std::size_t silent : {0U, 37U, 42U})
      EXPECT_LT(std::abs(after[silent] - before[silent]), 16.0 * ranks.lr) << silent;
  }
}

TEST_F(OnebitAdam, UpdatesCountNotSteps) {
  Replicas all(cx, 2, onebit(frozen_after(5)), noisy_gradient);
  Replicas some(cx, 2, onebit(frozen_after(5)), noisy_gradient);
  for (int i = 1; i <= 20; ++i) {
    all.step(i);
    some.step(i + 3 * (i / 4), false, i);  // steps of the schedule were skipped
  }
  EXPECT_EQ(all.values(), some.values());
  EXPECT_TRUE(all.state() == some.state());
}

TEST_F(OnebitAdam, ThawsAfterDriftAndFreezesAgain) {
  OnebitAdamConfig config = frozen_after(0);
  config.freeze = {.thaw_ratio = 2.0};
  const auto grows = [](int r, int step, std::size_t p, std::int64_t i) {
    return noisy_gradient(r, step, p, i) * (step > 80 ? 4.0 : 1.0);
  };
  Replicas ranks(cx, 2, onebit(config), grows);
  int frozen_at = 0, thawed_at = 0, again_at = 0;
  for (int step = 1; step <= 400; ++step) {
    ranks.step(step);
    ranks.expect_equal(step);
    const bool frozen = ranks.optimizer().needs(false).exchange;
    if (frozen_at == 0 && frozen) frozen_at = step;
    if (frozen_at != 0 && thawed_at == 0 && !frozen) thawed_at = step;
    if (thawed_at != 0 && again_at == 0 && frozen) again_at = step;
    // What was carried over from before a thaw is forgotten, once.
    if (frozen) {
      const auto exchanges = ranks.optimizer().exchange(cx, {.step = step + 1});
      ASSERT_EQ(exchanges[0]->reset_residuals, step == frozen_at || step == again_at) << step;
    }
    // v goes on from where it stood: its updates are all but the frozen ones.
    if (thawed_at != 0 && again_at == 0) {
      ASSERT_EQ(ranks.state().integers.at("onebit_adam/variance/updates"),
                frozen_at + step - thawed_at);
    }
  }
  EXPECT_GE(frozen_at, 40);
  EXPECT_LT(frozen_at, 80);
  EXPECT_GT(thawed_at, 100);  // drift for 20 updates
  EXPECT_LT(thawed_at, 140);
  EXPECT_GE(again_at, thawed_at + 40);
  EXPECT_THAT(ranks.messages, testing::HasSubstr("second moment thawed"));
}

TEST_F(OnebitAdam, ResumesBitForBitInEveryStage) {
  OnebitAdamConfig config = frozen_after(0);
  config.freeze = {.thaw_ratio = 2.0};
  const auto grows = [](int r, int step, std::size_t p, std::int64_t i) {
    return noisy_gradient(r, step, p, i) * (step > 80 ? 4.0 : 1.0);
  };
  Replicas whole(cx, 3, onebit(config), grows), cut(cx, 3, onebit(config), grows);
  for (int step = 1; step <= 1000; ++step) {
    whole.step(step);
    cut.step(step);
    if (step % 13 == 0) cut.reload();
    cut.expect_equal(step);
    ASSERT_EQ(whole.values(), cut.values()) << step;
  }
  EXPECT_TRUE(whole.state() == cut.state());
  EXPECT_EQ(whole.messages, cut.messages);
  EXPECT_THAT(whole.messages, testing::HasSubstr("thawed"));
}

TEST_F(OnebitAdam, BucketsThatOptOutStayWithAdamW) {
  OnebitAdamConfig config = frozen_after(5);
  config.dense = {"c"};
  Replicas ranks(cx, 2, onebit(config), noisy_gradient);
  Replicas adamw(
      cx, 2, [&](Context& c, const Replica& r) { return make_adamw(c, r.list(), config.adam); },
      noisy_gradient);
  for (int step = 1; step <= 30; ++step) {
    ranks.step(step);
    adamw.step(step);
  }
  EXPECT_EQ(ranks[0].params[2]->value.to_host<float>(cx),
            adamw[0].params[2]->value.to_host<float>(cx));
  EXPECT_NE(ranks.values(), adamw.values());
  EXPECT_TRUE(ranks.optimizer().needs(false).gradients);
  EXPECT_TRUE(ranks.optimizer().needs(false).exchange);
  const auto exchanges = ranks.optimizer().exchange(cx, {});
  EXPECT_TRUE(exchanges[0]);
  EXPECT_FALSE(exchanges[1]);
  EXPECT_THAT(dense_buckets(ranks[0].buckets, config.dense), testing::ElementsAre(false, true));
  config.dense = {"a"};
  EXPECT_THROW(make_onebit_adam(cx, ranks[0].buckets, config), Error);
}

TEST_F(OnebitAdam, StateIsNamedAndExistsFromConstruction) {
  Replicas ranks(cx, 1, onebit({}), noisy_gradient);
  using testing::Key;
  const StateCopy s = ranks.state();
  EXPECT_THAT(s.tensors,
              testing::ElementsAre(Key("onebit_adam/a/m"), Key("onebit_adam/a/v"),
                                   Key("onebit_adam/b.bias/m"), Key("onebit_adam/b.bias/v"),
                                   Key("onebit_adam/c/m"), Key("onebit_adam/c/v")));
  EXPECT_EQ(s.integers.at("onebit_adam/step"), 0);
}

TEST_F(OnebitAdam, RefusesNumbersOutOfRange) {
  const Replica r(cx);
  const auto make = [&](OnebitAdamConfig c) { make_onebit_adam(cx, r.buckets, c); };
  EXPECT_THROW(make({.adam = {.beta1 = 1.0}}), Error);
  EXPECT_THROW(make({.adam = {.eps = 0.0}}), Error);
  EXPECT_THROW(make({.freeze = {.thaw_ratio = 0.5}}), Error);
  EXPECT_NO_THROW(make({}));
}

TEST(CoarseSquare, IsOffByAQuarterOfAnOctaveAtMost) {
  for (const float largest : {1e-30F, 3.7e-9F, 1.0F, 2e20F}) {
    const CoarseSquare coarse{CoarseSquare::level(largest)};
    EXPECT_EQ(coarse.code(largest), 255);
    EXPECT_EQ(coarse.code(0.0F), 0);
    std::uint8_t last = 255;
    const float least = std::max(std::ldexp(largest, -63), 1.2e-38F);  // a normal number
    for (float v = largest; v > least; v *= 0.93F) {
      const std::uint8_t code = coarse.code(v);
      ASSERT_LE(code, last) << v;
      ASSERT_NEAR(std::sqrt(coarse(code) / v), 1.0, 0.0607) << v;  // sqrt(1.125)
      last = code;
    }
    EXPECT_GT(coarse(0), 0.0F);
  }
  // What is smaller than a code can tell counts as the smallest that one can, and stays alive.
  EXPECT_EQ(CoarseSquare{CoarseSquare::level(1.0F)}.code(std::ldexp(1.0F, -70)), 1);
}

TEST(OnebitKernels, InstructionSetsAgree) {
  constexpr std::int64_t kSize = 1003;
  const FrozenMath math{.keep = 0.999F, .step_size = 0.01F, .inv_sqrt_bc2 = 2.0F, .eps = 1e-8F};
  const auto run = [&](const OnebitKernels& k) {
    std::vector<float> value(kSize, 1.0F), m(kSize), v(kSize);
    std::vector<std::uint8_t> live((kSize + 7) / 8, 0xFF);
    for (std::size_t i = 0; i < kSize; ++i) {
      m[i] = std::sin(static_cast<float>(i));
      v[i] = i % 5 == 0 ? 0.0F : 0.01F * static_cast<float>(i);
    }
    k.mark_live({live.data(), m.data(), v.data(), kSize}, 0, std::ssize(live));
    k.step(math, {value.data(), m.data(), v.data()}, 1, kSize - 1);
    std::vector<float> kept(kSize, 1.0F), follows(kSize, 1.0F);
    std::vector<std::uint8_t> codes(kSize, 7);
    const CoarseSquare coarse{k.top_level(v.data(), 0, kSize)};
    k.make_coarse(coarse, {codes.data(), kept.data(), v.data()}, 1, kSize - 1);
    k.follow(math, coarse, {follows.data(), m.data(), codes.data()}, 1, kSize - 1);
    for (std::size_t i = 1; i < kSize - 1; ++i) {
      const bool dead = i % 5 == 0;
      EXPECT_EQ(kept[i], dead ? 0.0F : 1.0F) << i;
      EXPECT_EQ(codes[i] == 0, dead) << i;
      float want = 1.0F;
      if (!dead) math(want, m[i], coarse(codes[i]));
      EXPECT_NEAR(follows[i], dead ? 0.999F : want, 1e-6) << i;
    }
    for (const std::size_t outside : {std::size_t{0}, std::size_t{kSize - 1}}) {
      EXPECT_EQ(codes[outside], 7);
      EXPECT_EQ(follows[outside], 1.0F);
    }
    for (std::size_t i = 0; i < kSize; ++i) {
      EXPECT_EQ(live[i / 8] >> (i % 8) & 1, i % 5 != 0) << i;
      EXPECT_EQ(m[i] == 0.0F, i % 5 == 0) << i;
    }
    EXPECT_EQ(live.back() >> (kSize % 8), 0);
    return value;
  };
  const std::vector<float> v2 = run(isa_v2::onebit_kernels);
  EXPECT_EQ(v2.front(), 1.0F);
  EXPECT_EQ(v2.back(), 1.0F);
  const auto expect_near_v2 = [&](const std::vector<float>& other) {
    for (std::size_t i = 0; i < kSize; ++i)
      EXPECT_TRUE(test::agrees(other[i], v2[i], test::tolerance(DType::kF32))) << i;
  };
  if (detect_isa() >= Isa::kV3) expect_near_v2(run(isa_v3::onebit_kernels));
  if (detect_isa() >= Isa::kV4) expect_near_v2(run(isa_v4::onebit_kernels));
}

}  // namespace
}  // namespace gradwire
