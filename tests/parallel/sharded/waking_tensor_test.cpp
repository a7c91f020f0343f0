// A tensor that wakes up after the freeze, through real reducers, with its state whole or in
// slices: it alone travels as it is, for as long as its second moment moves.
#include <cmath>

#include <gtest/gtest.h>

#include "comm/plan.h"
#include "parallel/replica_check.h"
#include "tests/parallel/sharded/job.h"

namespace gradwire {
namespace {

using test::At;
using test::Job;
using test::JobConfig;

constexpr int kFrozenAt = 6, kWakesAt = 21, kSteps = 120;
constexpr double kLr = 0.01;  // of a Job
constexpr std::size_t kWaking = 37 + 5 + 3;

// Element 3 of "c" has its first gradient on one rank, long after the freeze.
double waking(const At& at) {
  if (at.p == 2 && at.i == 3 && at.step >= kWakesAt) return at.rank == 0 ? 1.0 : 0.0;
  return test::noisy(at);
}

struct Kind {
  bool sharded;
  const char *method, *codec;
};

class WakingTensor : public testing::TestWithParam<std::tuple<int, Kind>> {
 protected:
  static int ranks() { return std::get<0>(GetParam()); }
  static JobConfig config() {
    const Kind& kind = std::get<1>(GetParam());
    return {.rule = "onebit_adam",
            .sharded = kind.sharded,
            .clip_norm = 8.0,
            .freeze_step = kFrozenAt,
            .thaw_ratio = 0.0,
            .method = kind.method,
            .codec = kind.codec,
            .weight_decay = 0.0};
  }
};
INSTANTIATE_TEST_SUITE_P(
    Ranks, WakingTensor,
    testing::Combine(testing::Values(1, 2, 3),
                     testing::Values(Kind{false, "ef", "sign"}, Kind{true, "ef", "sign"},
                                     Kind{true, "ef", "topk"}, Kind{false, "plain", "int8"},
                                     Kind{false, "econtrol", "topk"}, Kind{false, "ef21", "sign"})),
    [](const auto& of) {
      const Kind& kind = std::get<1>(of.param);
      return std::to_string(std::get<0>(of.param)) + (kind.sharded ? "_sharded_" : "_whole_") +
             kind.method + "_" + kind.codec;
    });

TEST_P(WakingTensor, TrainsWhileTheOthersStayCompressed) {
  run_ranks(ranks(), [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Job job(cx, comm, config());
    const std::vector<float> before = job.values();
    std::vector<float> last = before;
    for (int step = 1; step <= kSteps; ++step) {
      EXPECT_EQ(job.optimizer().needs(false).exchange, step > kFrozenAt) << step;
      job.step(step, waking);
      ASSERT_NO_THROW(check_replicas(cx, comm, step, job.params())) << step;
      const std::vector<float> now = job.values();
      if (step <= kWakesAt) {
        ASSERT_EQ(now[kWaking], before[kWaking]) << step;
      }
      EXPECT_LE(std::abs(now[kWaking] - last[kWaking]), 16.0 * kLr) << step;
      last = now;
    }
    EXPECT_LT(last[kWaking], before[kWaking] - 40.0 * kLr);
    for (const std::size_t dead : {3, 37 + 3, 172 + 3})
      EXPECT_EQ(last[dead], before[dead]) << dead;
  });
}

// A step in which it is awake sends its gradient beside what any frozen step sends.
TEST_P(WakingTensor, CostsItsOwnGradientInBytes) {
  if (ranks() == 1) return;
  run_ranks(ranks(), [](Communicator& comm) {
    Runtime runtime;
    Job job(runtime.context(), comm, config());
    const auto sent_by = [&](int step) {
      const std::int64_t before = comm.ledger().total(Traffic::kGradient).sent_bytes;
      job.step(step, waking);
      return comm.ledger().total(Traffic::kGradient).sent_bytes - before;
    };
    std::int64_t frozen = 0;
    for (int step = 1; step <= kSteps; ++step) {
      const std::int64_t sent = sent_by(step);
      if (step == kWakesAt - 1) frozen = sent;
      if (step < kWakesAt + 2 || step > kWakesAt + 40) continue;
      EXPECT_GT(sent, frozen) << step;
      EXPECT_LE(sent - frozen, all_reduce_bytes(Job::kSizes[2], comm.size())) << step;
    }
    EXPECT_EQ(sent_by(kSteps + 1), frozen);
  });
}

// Against a run in which nothing wakes: the other parameters go another way only by clipping, which
// is off here, so that their values are the same bit for bit.
TEST_P(WakingTensor, LeavesTheOthersAlone) {
  run_ranks(ranks(), [](Communicator& comm) {
    Runtime runtime;
    JobConfig all = config();
    all.clip_norm = 0.0;
    all.bucket_bytes = 1;
    Job job(runtime.context(), comm, all), undisturbed(runtime.context(), comm, all);
    for (int step = 1; step <= kSteps; ++step) {
      job.step(step, waking);
      undisturbed.step(step);
      for (const std::size_t other : {0, 1, 3}) {
        ASSERT_EQ(job.params()[other]->value.to_host<float>(runtime.context()),
                  undisturbed.params()[other]->value.to_host<float>(runtime.context()))
            << step;
      }
    }
  });
}

}  // namespace
}  // namespace gradwire
