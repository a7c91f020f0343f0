#include "optim/onebit_lamb.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "optim/onebit_lamb_kernels.h"
#include "tests/optim/replicas.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using test::noisy_gradient;
using test::Replica;
using test::Replicas;

constexpr double kBeta1 = 0.9, kBeta2 = 0.95, kDecay = 0.1, kLr = 0.01, kEps = 1e-6;

OnebitLambConfig frozen_after(std::int64_t step) {
  return {.adam = {.beta2 = kBeta2, .eps = kEps, .weight_decay = kDecay, .no_decay = {"*.bias"}},
          .freeze = {.freeze_step = step, .thaw_ratio = 0.0},
          .max_trust = 2.0};
}

Replicas::Make onebit(const OnebitLambConfig& config) {
  return
      [config](Context& cx, const Replica& r) { return make_onebit_lamb(cx, r.buckets, config); };
}

// Parameters of very different gradients, small enough that the trust coefficient matters.
double uneven_gradient(int rank, int step, std::size_t p, std::int64_t i) {
  constexpr double kSizes[] = {1.0, 0.01, 30.0};
  return kSizes[p] * noisy_gradient(rank, step, p, i);
}

class OnebitLamb : public testing::Test {
 protected:
  Runtime runtime;
  Context& cx = runtime.context();
};

double norm(const std::vector<double>& x) {
  double sum = 0.0;
  for (const double e : x)
    sum += e * e;
  return std::sqrt(sum);
}

// The rule as the papers have it, over one parameter, in double.
struct NaiveParameter {
  std::vector<double> value, m, v, fresh;
  double trust = 0.0, trust_weight = 0.0, factor = 1.0;
  int v_updates = 0, fresh_updates = 0;

  explicit NaiveParameter(std::vector<double> start)
      : value(std::move(start)), m(value.size()), v(value.size()), fresh(value.size()) {}

  // Update t, of all, with the mean gradient g.
  void step(const std::vector<double>& g, int t, bool frozen, double decay) {
    frozen ? compressed(g, t, decay) : dense(g, t, decay);
  }
  void dense(const std::vector<double>& g, int t, double decay) {
    std::vector<double> r(g.size());
    ++v_updates;
    for (std::size_t i = 0; i < g.size(); ++i) {
      m[i] = kBeta1 * m[i] + (1.0 - kBeta1) * g[i];
      v[i] = kBeta2 * v[i] + (1.0 - kBeta2) * g[i] * g[i];
      r[i] = m[i] / (1.0 - std::pow(kBeta1, t)) / denominator(v[i], v_updates) + decay * value[i];
    }
    const double c = std::clamp(norm(value) / norm(r), 0.01, 2.0);
    trust = 0.9 * trust + 0.1 * c;
    trust_weight = 0.9 * trust_weight + 0.1;
    for (std::size_t i = 0; i < g.size(); ++i)
      value[i] -= kLr * c * r[i];
    fresh = v;
    fresh_updates = v_updates;
    factor = 1.0;
  }
  void compressed(const std::vector<double>& g, int t, double decay) {
    ++fresh_updates;
    std::vector<double> p(g.size()), r(g.size());
    double q = 0.0, sum = 0.0, count = 0.0;
    for (const double x : v) {
      sum += x;
      count += x != 0.0 ? 1.0 : 0.0;
    }
    const double floor = count > 0.0 ? sum / count / 256.0 : 0.0;
    for (std::size_t i = 0; i < g.size(); ++i) {
      m[i] = kBeta1 * m[i] + (1.0 - kBeta1) * g[i];
      fresh[i] = kBeta2 * fresh[i] + (1.0 - kBeta2) * g[i] * g[i];
      const double d = denominator(std::max(v[i], floor), v_updates);
      p[i] = m[i] / (1.0 - std::pow(kBeta1, t)) / d;
      r[i] = p[i] + decay * value[i];
      q = std::max(q, d / denominator(fresh[i], fresh_updates));
    }
    const double s = std::min(1.0, norm(p) / norm(r));
    const double f = std::clamp(s * q + 1.0 - s, 0.5, 4.0);
    factor = std::clamp(f, 0.9 * factor, 1.1 * factor);
    for (std::size_t i = 0; i < g.size(); ++i)
      value[i] -= kLr * trust / trust_weight * factor * r[i];
  }
  static double denominator(double v, int updates) {
    return std::sqrt(v / (1.0 - std::pow(kBeta2, updates))) + kEps;
  }
};

TEST_F(OnebitLamb, FollowsThePapersThroughFreezeThawAndFreeze) {
  constexpr int kSteps = 250, kRanks = 3;
  OnebitLambConfig config = frozen_after(15);
  config.freeze.thaw_ratio = 2.0;
  const auto grows = [](int r, int step, std::size_t p, std::int64_t i) {
    return uneven_gradient(r, step, p, i) * (step > 60 ? 4.0 : 1.0);
  };
  Replicas ranks(cx, kRanks, onebit(config), grows);
  ranks.grad_scale = 0.5;
  std::vector<NaiveParameter> want;
  for (const auto& p : ranks[0].params)
    want.emplace_back(p->value.to_host<double>(cx));
  int changes = 0;
  for (int step = 1; step <= kSteps; ++step) {
    const bool frozen = ranks.optimizer().needs(false).exchange;
    ranks.step(step);
    changes += ranks.optimizer().needs(false).exchange != frozen ? 1 : 0;
    for (std::size_t p = 0; p < 3; ++p) {
      std::vector<double> mean(static_cast<std::size_t>(Replica::kSizes[p]));
      for (std::int64_t i = 0; i < Replica::kSizes[p]; ++i) {
        for (int r = 0; r < kRanks; ++r)
          mean[static_cast<std::size_t>(i)] += 0.5 * grows(r, step, p, i) / kRanks;
      }
      want[p].step(mean, step, frozen, p == 1 ? 0.0 : kDecay);
      // The rebuilt gradient is a difference of momenta over 1 - beta1, and is squared.
      constexpr double kAmplified = 2.0 * (1.0 + kBeta1) / (1.0 - kBeta1);
      const std::vector<double> got = ranks[0].params[p]->value.to_host<double>(cx);
      for (std::size_t i = 0; i < got.size(); ++i) {
        ASSERT_TRUE(test::agrees(got[i], want[p].value[i],
                                 kAmplified * test::tolerance(DType::kF32, kSteps)))
            << "step " << step << ' ' << Replica::kNames[p] << '[' << i << "]: " << got[i]
            << " against " << want[p].value[i];
      }
    }
    ranks.expect_equal(step);
  }
  EXPECT_EQ(changes, 3);
}

TEST_F(OnebitLamb, HeldDenseItStaysInAndComesBackToItsFirstStage) {
  Replicas ranks(cx, 2, onebit(frozen_after(4)), uneven_gradient);
  const auto hold = [&](bool held) {
    for (int r = 0; r < 2; ++r)
      ranks.optimizer(r).hold_dense(held);
  };
  hold(true);
  int step = 0;
  while (step < 8)
    ranks.step(++step);
  EXPECT_TRUE(ranks.optimizer().needs(false).gradients);
  hold(false);
  ranks.step(++step);
  EXPECT_TRUE(ranks.optimizer().needs(false).exchange);
  hold(true);
  ranks.step(++step);
  EXPECT_TRUE(ranks.optimizer().needs(false).gradients);
  ranks.step(++step);
  ranks.expect_equal(step);
}

TEST_F(OnebitLamb, AsksForGradientsThenForMomentaOfOneSize) {
  Replicas ranks(cx, 2, onebit(frozen_after(4)), uneven_gradient);
  for (int step = 1; step <= 4; ++step) {
    EXPECT_TRUE(ranks.optimizer().needs(false).gradients);
    EXPECT_THROW(ranks.optimizer().exchange(cx, {}), Error);
    ranks.step(step);
  }
  EXPECT_FALSE(ranks.optimizer().needs(false).gradients);
  EXPECT_TRUE(ranks.optimizer().needs(true).exchange);
  EXPECT_EQ(ranks.messages, "second moment frozen after 4 updates: as configured");
  const auto state = ranks.state();
  std::vector<double> sizes;
  for (const char* name : Replica::kNames) {
    const std::string at = std::string("onebit_lamb/") + name;
    const double scale = state.reals.at(at + "/scale");
    EXPECT_EQ(std::exp2(std::round(std::log2(scale))), scale);
    const std::vector<float>& m = state.tensors.at(at + "/m");
    sizes.push_back(norm({m.begin(), m.end()}) / std::sqrt(static_cast<double>(m.size())));
  }
  const auto [least, most] = std::minmax_element(sizes.begin(), sizes.end());
  EXPECT_LE(*most / *least, 2.0 + 1e-6);
}

// Both ends of a pipeline hold a shared parameter beside others of their own, and must exchange the
// same of it.
TEST_F(OnebitLamb, TheSizeOfAParameterDoesNotDependOnTheOthers) {
  const auto scale_beside = [&](double size_of_others) {
    const auto gradient = [=](int rank, int step, std::size_t p, std::int64_t i) {
      return (p == 2 ? 1.0 : size_of_others) * noisy_gradient(rank, step, p, i);
    };
    Replicas ranks(cx, 2, onebit(frozen_after(4)), gradient);
    for (int step = 1; step <= 4; ++step)
      ranks.step(step);
    return ranks.state().reals.at("onebit_lamb/c/scale");
  };
  EXPECT_EQ(scale_beside(1.0), scale_beside(1000.0));
}

TEST_F(OnebitLamb, TheFactorMovesAtMostATenthAStepWithinItsBounds) {
  const auto collapses = [](int r, int step, std::size_t p, std::int64_t i) {
    return noisy_gradient(r, step, p, i) * (step > 20 ? 1e-3 : 1.0);
  };
  Replicas ranks(cx, 1, onebit(frozen_after(20)), collapses);
  double last = 1.0;
  for (int step = 1; step <= 200; ++step) {
    ranks.step(step);
    const double factor = ranks.state().reals.at("onebit_lamb/b.bias/factor");
    EXPECT_LE(factor, last * 1.1 * (1.0 + 1e-12));
    EXPECT_GE(factor, last * 0.9 * (1.0 - 1e-12));
    EXPECT_LE(factor, 4.0);
    last = factor;
  }
  EXPECT_EQ(last, 4.0);
}

TEST_F(OnebitLamb, TheFrozenSecondMomentNeverMoves) {
  Replicas ranks(cx, 2, onebit(frozen_after(5)), uneven_gradient);
  std::vector<float> frozen;
  for (int step = 1; step <= 100; ++step) {
    ranks.step(step);
    const std::vector<float> v = ranks.state().tensors.at("onebit_lamb/c/v");
    if (step == 5) frozen = v;
    if (step > 5) {
      ASSERT_EQ(v, frozen) << step;
    }
  }
}

TEST_F(OnebitLamb, CoordinatesWithoutGradientStayAsTheyAre) {
  OnebitLambConfig config = frozen_after(5);
  config.adam.weight_decay = 0.0;
  Replicas ranks(cx, 2, onebit(config), uneven_gradient);
  ranks.noise = [](std::int64_t i) { return i % 2 == 0 ? 0.1 : -0.1; };
  const std::vector<float> before = ranks.values();
  for (int step = 1; step <= 40; ++step) {
    ranks.step(step);
    ranks.expect_equal(step);
  }
  const std::vector<float> after = ranks.values();
  for (const std::size_t dead : {3U, 37U + 3U, 42U + 3U})
    EXPECT_EQ(std::memcmp(&after[dead], &before[dead], sizeof(float)), 0) << dead;
  EXPECT_NE(after[4], before[4]);
}

// Its momentum is a denormal by then, which no float brings to the size of the others.
TEST_F(OnebitLamb, AParameterLongWithoutGradientsSurvivesTheFreeze) {
  constexpr int kFrozenAt = 1000;
  const auto gradient = [](int rank, int step, std::size_t p, std::int64_t i) {
    return p == 0 && step > 5 && step <= kFrozenAt + 5 ? 0.0 : noisy_gradient(rank, step, p, i);
  };
  Replicas ranks(cx, 2, onebit(frozen_after(kFrozenAt)), gradient);
  for (int step = 1; step <= kFrozenAt + 20; ++step)
    ranks.step(step);
  ASSERT_TRUE(ranks.optimizer().needs(true).exchange);
  for (const float x : ranks.values())
    ASSERT_TRUE(std::isfinite(x));
  for (const auto& [name, tensor] : ranks.state().tensors)
    for (const float x : tensor)
      ASSERT_TRUE(std::isfinite(x)) << name;
}

TEST_F(OnebitLamb, ResumesBitForBitInEveryStage) {
  OnebitLambConfig config = frozen_after(0);
  config.freeze = {.thaw_ratio = 2.0};
  const auto grows = [](int r, int step, std::size_t p, std::int64_t i) {
    return uneven_gradient(r, step, p, i) * (step > 80 ? 4.0 : 1.0);
  };
  Replicas whole(cx, 3, onebit(config), grows), cut(cx, 3, onebit(config), grows);
  for (int step = 1; step <= 300; ++step) {
    whole.step(step);
    cut.step(step);
    if (step % 13 == 0) cut.reload();
    cut.expect_equal(step);
    ASSERT_EQ(whole.values(), cut.values()) << step;
  }
  EXPECT_TRUE(whole.state() == cut.state());
  EXPECT_THAT(whole.messages, testing::HasSubstr("thawed"));
  EXPECT_TRUE(whole.optimizer().needs(false).exchange);  // and frozen again
}

TEST_F(OnebitLamb, RefusesNumbersOutOfRange) {
  const Replica r(cx);
  const auto make = [&](OnebitLambConfig c) { make_onebit_lamb(cx, r.buckets, c); };
  EXPECT_THROW(make({.min_trust = 0.0}), Error);
  EXPECT_THROW(make({.min_trust = 3.0, .max_trust = 2.0}), Error);
  EXPECT_THROW(make({.adam = {.eps = 0.0}}), Error);
  EXPECT_NO_THROW(make({}));
}

TEST(LambKernels, InstructionSetsAgree) {
  constexpr std::int64_t kSize = 1003;
  const LambMath math{.beta1 = 0.9F,
                      .one_minus_beta1 = 0.1F,
                      .beta2 = 0.95F,
                      .one_minus_beta2 = 0.05F,
                      .grad_scale = 0.5F,
                      .momentum_gain = 2.0F,
                      .rebuild_gain = 10.0F,
                      .inv_sqrt_bc2 = 1.5F,
                      .inv_sqrt_bc2_fresh = 1.2F,
                      .eps = 1e-4F,
                      .decay = 0.1F};
  struct Result {
    std::vector<float> dense, frozen;
    float largest = 0.0F;
  };
  const auto run = [&](const LambKernels& k) {
    std::vector<float> value(kSize, 1.0F), grad(kSize), m(kSize), v(kSize), fresh(kSize, 0.1F);
    Result result{std::vector<float>(kSize), std::vector<float>(kSize)};
    for (std::size_t i = 0; i < kSize; ++i)
      grad[i] = std::sin(static_cast<float>(i));
    LambArrays a{value.data(), grad.data(), m.data(), v.data(), fresh.data(), result.dense.data()};
    k.dense(math, a, 1, kSize - 1);
    a.work = result.frozen.data();
    result.largest = k.frozen(math, a, 1, kSize - 1);
    EXPECT_EQ(result.dense.front(), 0.0F);
    EXPECT_EQ(result.frozen.back(), 0.0F);
    return result;
  };
  const Result v2 = run(isa_v2::lamb_kernels);
  EXPECT_GT(v2.largest, 0.0F);
  const auto expect_near_v2 = [&](const Result& other) {
    for (std::size_t i = 0; i < kSize; ++i) {
      EXPECT_TRUE(test::agrees(other.dense[i], v2.dense[i], test::tolerance(DType::kF32, 4))) << i;
      EXPECT_TRUE(test::agrees(other.frozen[i], v2.frozen[i], test::tolerance(DType::kF32, 4)))
          << i;
    }
    EXPECT_TRUE(test::agrees(other.largest, v2.largest, test::tolerance(DType::kF32, 4)));
  };
  if (detect_isa() >= Isa::kV3) expect_near_v2(run(isa_v3::lamb_kernels));
  if (detect_isa() >= Isa::kV4) expect_near_v2(run(isa_v4::lamb_kernels));
}

}  // namespace
}  // namespace gradwire
