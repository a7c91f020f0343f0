#include "parallel/sharded/sharded_onebit_adam.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "parallel/replica_check.h"
#include "tests/parallel/sharded/job.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using test::At;
using test::Job;
using test::JobConfig;

constexpr std::int64_t kFrozenAt = 6;
constexpr double kLr = 0.01;  // of a Job

JobConfig onebit() {
  return {.rule = "onebit_adam", .sharded = true, .freeze_step = kFrozenAt};
}

class ShardedOnebit : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, ShardedOnebit, testing::Values(1, 2, 3, 4));

TEST_P(ShardedOnebit, DenseStepsAreAdamWsBitForBit) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    JobConfig config = onebit();
    config.clip_norm = 1.0;
    Job job(runtime.context(), comm, config), adamw(runtime.context(), comm, {.clip_norm = 1.0});
    for (int step = 1; step <= kFrozenAt; ++step) {
      EXPECT_FALSE(job.optimizer().needs(false).exchange) << step;
      job.step(step);
      adamw.step(step);
      ASSERT_EQ(job.values(), adamw.values()) << step;
    }
    EXPECT_TRUE(job.optimizer().needs(false).exchange);
    job.step(kFrozenAt + 1);
    adamw.step(kFrozenAt + 1);
    EXPECT_NE(job.values(), adamw.values());
  });
}

// One coordinate of 1-bit Adam as the paper has it, in double, but for a v that has two bits of a
// mantissa once it is frozen: the middle of its quarter of an octave.
struct NaiveElement {
  double value, m = 0.0, v = 0.0;
  static double rounded(double x) {
    int exponent = 0;
    const double mantissa = 2.0 * std::frexp(x, &exponent);  // in [1, 2)
    return std::ldexp(std::floor(4.0 * mantissa) / 4.0 + 0.125, exponent - 1);
  }
  void step(double g, std::int64_t t, double decay) {
    m = 0.9 * m + 0.1 * g;
    if (t <= kFrozenAt) v = 0.95 * v + 0.05 * g * g;
    const double v_hat =
        (t <= kFrozenAt ? v : rounded(v)) /
        (1.0 - std::pow(0.95, std::min<double>(static_cast<double>(t), kFrozenAt)));
    const double m_hat = m / (1.0 - std::pow(0.9, t));
    const double update = v > 0.0 ? m_hat / (std::sqrt(v_hat) + 1e-8) : 0.0;
    value = value - 0.01 * decay * value - 0.01 * update;
  }
};

// A codec that loses nothing leaves the rule alone.
TEST_P(ShardedOnebit, FollowsThePaperThroughBothStages) {
  constexpr int kSteps = 30;
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    JobConfig config = onebit();
    config.codec = "identity";
    Job job(runtime.context(), comm, config);
    std::vector<NaiveElement> want;
    for (const float x : job.values())
      want.push_back({.value = static_cast<double>(x)});
    for (int step = 1; step <= kSteps; ++step) {
      job.step(step);
      std::size_t at = 0;
      for (std::size_t p = 0; p < std::size(Job::kSizes); ++p) {
        for (std::int64_t i = 0; i < Job::kSizes[p]; ++i) {
          double mean = 0.0;
          for (int r = 0; r < comm.size(); ++r)
            mean += static_cast<double>(static_cast<float>(test::noisy({r, step, 0, p, i})));
          want[at++].step(mean / comm.size(), step, p == 1 ? 0.0 : 0.1);
        }
      }
    }
    const std::vector<float> got = job.values();
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_TRUE(test::agrees(got[i], want[i].value, test::tolerance(DType::kF32, kSteps)))
          << i << ": " << got[i] << " against " << want[i].value;
    }
  });
}

TEST_P(ShardedOnebit, ReplicasStayEqualBitForBit) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    JobConfig config = onebit();
    config.clip_norm = 1.0;
    config.accumulation = 2;
    config.uncompressed = {"c"};
    for (const char* codec : {"sign", "topk", "int8"}) {
      config.codec = codec;
      Job job(cx, comm, config);
      for (int step = 1; step <= 40; ++step) {
        job.step(step);
        ASSERT_NO_THROW(check_replicas(cx, comm, step, job.params())) << codec << " " << step;
      }
    }
  });
}

// What opted out keeps both moments moving, and lies in no exchange.
TEST_P(ShardedOnebit, BucketsThatOptOutStayWithAdamW) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    JobConfig config = onebit();
    config.uncompressed = {"c"};
    Job job(runtime.context(), comm, config),
        adamw(runtime.context(), comm, {.uncompressed = {"c"}});
    for (int step = 1; step <= 20; ++step) {
      job.step(step);
      adamw.step(step);
    }
    EXPECT_EQ(job.params()[2]->value.to_host<float>(runtime.context()),
              adamw.params()[2]->value.to_host<float>(runtime.context()));
    EXPECT_NE(job.values(), adamw.values());
  });
}

// Towards 1 / (1 + p) in every coordinate of parameter p, from noisy gradients of one bit, through
// several stages. Element 3 gets there without noise, so that its v all but vanishes, and yet the
// bit must not throw it about.
TEST_P(ShardedOnebit, DescendsAsTheWholeRuleDoes) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    const auto distance_after = [&](bool sharded, int steps) {
      JobConfig config = onebit();
      config.sharded = sharded;
      config.freeze_step = 60;
      config.weight_decay = 0.0;
      Job job(runtime.context(), comm, config);
      const auto off = [&](std::size_t p, std::int64_t i) {
        return static_cast<double>(job.params()[p]->value.data<float>()[i]) -
               1.0 / static_cast<double>(1 + p);
      };
      for (int step = 1; step <= steps; ++step)
        job.step(step, [&](const At& at) { return off(at.p, at.i) + test::noisy(at) - 0.1; });
      double sum = 0.0;
      for (std::size_t p = 0; p < std::size(Job::kSizes); ++p)
        for (std::int64_t i = 0; i < Job::kSizes[p]; ++i)
          sum += std::pow(off(p, i), 2);
      return sum / Job::kElements;
    };
    const double start = distance_after(true, 0), whole = distance_after(false, 500);
    const double sharded = distance_after(true, 500);
    EXPECT_LT(sharded, 0.01 * start);
    EXPECT_LT(sharded, 1.5 * whole);
  });
}

// Of both moments its slices, and a byte and a bit for each element of all.
TEST_P(ShardedOnebit, NoRankHoldsAWholeMoment) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    JobConfig config = onebit();
    config.bucket_bytes = 1 << 20;
    Job job(runtime.context(), comm, config);
    const std::int64_t n = job.ranks().buckets()[0].flat.numel();
    const auto held = [&] {
      return static_cast<std::int64_t>(runtime.allocator().stats().of(Segment::kOptim).peak_bytes);
    };
    const std::int64_t exact = 2 * 4 * n / comm.size() + n / 8 / comm.size() + n + n / 8;
    EXPECT_LE(held(), exact + exact / 8 + 4 * 512);  // what the allocator rounds up
    const std::int64_t before = held();
    for (int step = 1; step <= 10; ++step)
      job.step(step);
    EXPECT_EQ(held(), before);
  });
}

}  // namespace
}  // namespace gradwire
