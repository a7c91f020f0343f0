#include "comm/clock_offset.h"

#include <chrono>
#include <vector>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"

namespace gradwire {
namespace {

// Each rank's clock is its rank times 1000 s ahead of the real one.
double clock_of(int rank) {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count() + 1000.0 * rank;
}

// The bound holds however slowly messages travel.
TEST(ClockOffset, IsWithinItsOwnBound) {
  run_ranks(4, [](Communicator& comm) {
    Runtime runtime;
    const std::vector<int> ranks = {1, 3};
    const ClockOffset o =
        measure_clock_offset(runtime.context(), comm, ranks, [&] { return clock_of(comm.rank()); });
    if (comm.rank() % 2 == 0) {
      EXPECT_EQ(o.offset_s, 0.0);
      EXPECT_EQ(o.error_s, 0.0);
    } else {
      EXPECT_NEAR(o.offset_s, -1000.0 * comm.rank(), o.error_s + 1e-9);
      EXPECT_LT(o.error_s, 100.0);
    }
  });
}

}  // namespace
}  // namespace gradwire
