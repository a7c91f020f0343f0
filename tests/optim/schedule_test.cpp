#include "optim/schedule.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "core/error.h"
#include "optim/clip.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

// Values worked out by hand from the definitions.
TEST(Schedule, Table) {
  const auto config = [](Decay decay, std::int64_t warmup, double final_ratio) {
    return ScheduleConfig{decay, 2.0, warmup, 110, final_ratio};
  };
  struct Case {
    ScheduleConfig config;
    std::int64_t step;
    double lr;
  };
  const std::vector<Case> cases = {
      {config(Decay::kConstant, 10, 0.1), 1, 0.2},  // warm-up: step / 10 of the peak
      {config(Decay::kConstant, 10, 0.1), 5, 1.0},
      {config(Decay::kConstant, 10, 0.1), 10, 2.0},
      {config(Decay::kConstant, 10, 0.1), 11, 2.0},
      {config(Decay::kConstant, 0, 0.1), 1, 2.0},
      {config(Decay::kConstant, 10, 0.1), 5000, 2.0},
      {config(Decay::kLinear, 10, 0.1), 10, 2.0},
      {config(Decay::kLinear, 10, 0.1), 60, 1.1},  // half of the way from 2 to 0.2
      {config(Decay::kLinear, 10, 0.1), 110, 0.2},
      {config(Decay::kLinear, 10, 0.1), 500, 0.2},
      {config(Decay::kLinear, 10, 0.0), 110, 0.0},
      {config(Decay::kCosine, 10, 0.1), 10, 2.0},
      {config(Decay::kCosine, 10, 0.1), 35, 1.1 + 0.9 * std::sqrt(0.5)},
      {config(Decay::kCosine, 10, 0.1), 60, 1.1},
      {config(Decay::kCosine, 10, 0.1), 110, 0.2},
      {config(Decay::kCosine, 10, 0.1), 111, 0.2},
      {config(Decay::kInverseSqrt, 10, 0.0), 10, 2.0},
      {config(Decay::kInverseSqrt, 10, 0.0), 40, 1.0},
      {config(Decay::kInverseSqrt, 10, 0.0), 4000, 0.1},
      {config(Decay::kInverseSqrt, 10, 0.1), 4000, 0.2},
      {config(Decay::kInverseSqrt, 0, 0.0), 1, 2.0},
      {config(Decay::kInverseSqrt, 0, 0.0), 100, 0.2},
      {config(Decay::kCosine, 110, 0.5), 110, 2.0},  // nothing but warm-up
      {config(Decay::kCosine, 110, 0.5), 111, 1.0},
  };
  for (const Case& c : cases) {
    check_schedule(c.config);
    EXPECT_NEAR(lr_at(c.config, c.step), c.lr, test::tolerance(DType::kF64))
        << name_of(c.config.decay) << " warm-up " << c.config.warmup_steps << " step " << c.step;
  }
}

TEST(Schedule, NeverRisesAfterTheWarmUpNorLeavesItsBounds) {
  for (const char* name : {"constant", "linear", "cosine", "inverse_sqrt"}) {
    const ScheduleConfig c{decay_named(name), 1.0, 7, 100, 0.05};
    EXPECT_STREQ(name_of(c.decay), name);
    for (std::int64_t step = 1; step < 150; ++step) {
      const double lr = lr_at(c, step);
      EXPECT_GT(lr, 0.0);
      EXPECT_LE(lr, 1.0);
      if (step <= 7) continue;
      EXPECT_LE(lr, lr_at(c, step - 1)) << name << ' ' << step;
      EXPECT_GE(lr, 0.05 - test::tolerance(DType::kF64));
    }
  }
}

TEST(Schedule, ErrorsNameTheField) {
  const auto message = [](const ScheduleConfig& c) -> std::string {
    try {
      check_schedule(c);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kConfig);
      return e.what();
    }
    return "";
  };
  const ScheduleConfig good{Decay::kCosine, 1.0, 5, 10, 0.0};
  EXPECT_EQ(message(good), "");
  ScheduleConfig c = good;
  c.peak_lr = std::nan("");
  EXPECT_EQ(message(c), "schedule: peak_lr must be >= 0, got nan");
  c = good;
  c.warmup_steps = -1;
  EXPECT_EQ(message(c), "schedule: warmup_steps must be >= 0, got -1");
  c = good;
  c.final_ratio = 1.5;
  EXPECT_EQ(message(c), "schedule: final_ratio must be in [0, 1], got 1.5");
  c = good;
  c.total_steps = 4;
  EXPECT_EQ(message(c), "schedule: total_steps must be >= 1 and >= warmup_steps, got 4");
  c.decay = Decay::kConstant;
  EXPECT_EQ(message(c), "");
  EXPECT_THROW(decay_named("cosin"), Error);
}

TEST(Clip, FactorBringsTheNormDownToTheBound) {
  EXPECT_EQ(clip_factor(0.5, 1.0), 1.0);
  EXPECT_EQ(clip_factor(1.0, 1.0), 1.0);
  EXPECT_EQ(clip_factor(4.0, 1.0), 0.25);
  EXPECT_EQ(clip_factor(0.0, 1.0), 1.0);
  EXPECT_THROW(clip_factor(std::nan(""), 1.0), Error);
  EXPECT_THROW(clip_factor(HUGE_VAL, 1.0), Error);
  EXPECT_EQ(clip_factor(4.0, 0.0), 1.0);  // no bound
  EXPECT_THROW(clip_factor(1.0, -1.0), Error);
  EXPECT_THROW(clip_factor(1.0, std::nan("")), Error);
}

}  // namespace
}  // namespace gradwire
