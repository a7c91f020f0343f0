#include "core/host_limits.h"

#include <thread>

#include <gtest/gtest.h>
#include <sched.h>

namespace gradwire {
namespace {

bool bind_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

TEST(HostLimits, BoundThreadKnowsWhatItLost) {
  const CpuLimits before = cpu_limits();
  std::thread([&] {
    ASSERT_TRUE(bind_to(std::stoi(before.set)));
    const CpuLimits bound = cpu_limits();
    EXPECT_EQ(bound.bound, 1);
    EXPECT_EQ(bound.unbound, before.unbound);
    EXPECT_EQ(available_cpus(), 1);
    // Asking has not unbound the thread.
    EXPECT_EQ(cpu_limits().set, bound.set);
  }).join();
  EXPECT_EQ(cpu_limits().set, before.set);
}

TEST(HostLimits, AreWithinTheMachine) {
  const CpuLimits limits = cpu_limits();
  EXPECT_GE(available_cpus(), 1);
  EXPECT_LE(available_cpus(), limits.bound);
  EXPECT_LE(limits.bound, limits.unbound);
  EXPECT_LE(limits.unbound, limits.online);
  EXPECT_GT(available_memory_bytes(), 0);
}

}  // namespace
}  // namespace gradwire
