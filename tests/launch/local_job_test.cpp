#include "launch/start/local_job.h"

#include <csignal>

#include <gtest/gtest.h>

namespace gradwire {
namespace {

// As waitpid() has them.
constexpr int exited(int code) {
  return code << 8;
}
constexpr int killed(int number) {
  return number;
}

TEST(JobExitCode, IsThatOfAllRanksOrOfTheFirstCause) {
  EXPECT_EQ(job_exit_code({{0, exited(0)}, {1, exited(0)}}), 0);
  EXPECT_EQ(job_exit_code({{1, exited(75)}, {0, exited(75)}}), 75);
  EXPECT_EQ(job_exit_code({{0, exited(0)}, {1, exited(75)}}), 75);
  EXPECT_EQ(job_exit_code({{2, exited(6)}, {1, exited(3)}, {0, exited(6)}}), 3);
  EXPECT_EQ(job_exit_code({{1, exited(5)}, {0, exited(2)}}), 5);
  EXPECT_EQ(job_exit_code({{1, killed(SIGKILL)}, {0, exited(6)}}), 6);
  EXPECT_EQ(job_exit_code({{1, exited(75)}, {0, exited(8)}}), 8);
  // A stall is a cause, the ranks that are lost by it are not.
  EXPECT_EQ(job_exit_code({{0, exited(6)}, {1, exited(7)}, {2, exited(6)}}), 7);
  EXPECT_EQ(job_exit_code({{1, exited(7)}, {0, killed(SIGKILL), true}}), 7);
  // What had to be ended by us is no cause.
  EXPECT_EQ(job_exit_code({{1, exited(6)}, {0, exited(1), true}}), 6);
  EXPECT_EQ(job_exit_code({{1, exited(3)}, {0, killed(SIGKILL), true}}), 3);
}

TEST(Describe, NamesTheSignalOfARankThatCouldNotSpeak) {
  EXPECT_EQ(describe({1, exited(3)}), "");
  EXPECT_EQ(describe({1, killed(SIGKILL)}), "rank 1 was killed by signal 9 (Killed)");
  EXPECT_EQ(describe({0, killed(SIGKILL), true}),
            "rank 0 was killed by signal 9 (Killed): it did not end when another rank had failed");
}

}  // namespace
}  // namespace gradwire
