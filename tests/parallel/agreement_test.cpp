#include "parallel/agreement.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"

namespace gradwire {
namespace {

class Agreement : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Agreement, testing::Values(1, 2, 5));

TEST_P(Agreement, OneRanksFlagIsEveryRanks) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    const int n = comm.size();
    for (int raised = 0; raised < n; ++raised) {
      const bool mine = comm.rank() == raised;
      const StepWord all = agree(runtime.context(), comm, {mine, false, 2.0 * comm.rank(), 3.0});
      EXPECT_TRUE(all.stop);
      EXPECT_FALSE(all.nonfinite);
      EXPECT_EQ(all.loss_sum, n * (n - 1));
      EXPECT_EQ(all.loss_count, 3.0 * n);
      EXPECT_TRUE(agree(runtime.context(), comm, {false, mine, 0, 0}).nonfinite);
    }
    const StepWord none = agree(runtime.context(), comm, {});
    EXPECT_FALSE(none.stop || none.nonfinite);
  });
}

// A loss that is not a number must not hide the flags.
TEST_P(Agreement, FlagsSurviveALossThatIsNotANumber) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    const double nan = std::numeric_limits<double>::quiet_NaN();
    const StepWord all = agree(runtime.context(), comm, {true, comm.rank() == 0, nan, 1});
    EXPECT_TRUE(all.stop && all.nonfinite);
    EXPECT_TRUE(std::isnan(all.loss_sum));
  });
}

TEST_P(Agreement, SumIsTheSameOnAllRanks) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    double sum = 0.0;
    for (int r = 0; r < comm.size(); ++r)
      sum += std::sqrt(r + 2.0);
    EXPECT_EQ(sum_over_ranks(runtime.context(), comm, std::sqrt(comm.rank() + 2.0)), sum);
    const double mine = comm.rank() == 0 ? std::nan("") : 1.0;
    EXPECT_TRUE(std::isnan(sum_over_ranks(runtime.context(), comm, mine)));
  });
}

TEST_P(Agreement, MeanIsWeighted) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    double sum = 0, weights = 0;
    for (int r = 0; r < comm.size(); ++r) {
      sum += (r + 0.5) * (r + 1);
      weights += r + 1;
    }
    EXPECT_DOUBLE_EQ(mean_over_ranks(cx, comm, comm.rank() + 0.5, comm.rank() + 1), sum / weights);
    // A rank without samples has no say, whatever it holds.
    const bool idle = comm.rank() == 0;
    const double mean = mean_over_ranks(cx, comm, idle ? std::nan("") : 4.0, idle ? 0.0 : 2.0);
    if (comm.size() == 1) {
      EXPECT_TRUE(std::isnan(mean));
    } else {
      EXPECT_EQ(mean, 4.0);
    }
  });
}

}  // namespace
}  // namespace gradwire
