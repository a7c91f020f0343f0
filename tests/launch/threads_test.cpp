#include "launch/start/threads.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using ::testing::HasSubstr;

RankEnvironment started_by(const std::string& source, int local_size) {
  RankEnvironment env;
  env.source = source;
  env.size = env.local_size = local_size;
  return env;
}

CpuLimits of_machine(int online, int bound, std::optional<int> quota = std::nullopt) {
  CpuLimits limits;
  limits.online = limits.unbound = online;
  limits.bound = bound;
  limits.quota = quota;
  return limits;
}

int count(int local_size, const CpuShare& share) {
  return choose_threads(started_by("Open MPI", local_size), 0, nullptr, share).count;
}

TEST(Threads, RanksShareAHost) {
  EXPECT_EQ(count(1, {of_machine(8, 8), 1, 1}), 8);
  EXPECT_EQ(count(3, {of_machine(8, 8), 3, 3}), 2);
  EXPECT_EQ(count(3, {of_machine(2, 2), 3, 3}), 1);
}

TEST(Threads, RanksShareTheProcessorsThatAJobHasOfAHost) {
  EXPECT_EQ(count(2, {of_machine(64, 16), 2, 2}), 8);  // one set for both
  EXPECT_EQ(count(2, {of_machine(64, 8), 1, 2}), 8);   // a set for each
}

TEST(Threads, RanksShareAQuota) {
  EXPECT_EQ(count(1, {of_machine(64, 64, 3), 1, 1}), 3);
  EXPECT_EQ(count(2, {of_machine(64, 64, 8), 2, 2}), 4);
  EXPECT_EQ(count(2, {of_machine(64, 64, 8), 2, 1}), 8);  // a container each
  EXPECT_EQ(count(4, {of_machine(64, 64, 2), 4, 4}), 1);
}

TEST(Threads, TheLeastHolds) {
  EXPECT_EQ(count(2, {of_machine(8, 6, 16), 1, 2}), 4);
  EXPECT_EQ(count(2, {of_machine(16, 6, 16), 1, 2}), 6);
  EXPECT_EQ(count(2, {of_machine(16, 6, 10), 1, 2}), 5);
}

TEST(Threads, MoreThanAnyHostHasAreRefused) {
  const CpuShare share{of_machine(8, 8), 1, 1};
  test::expect_error(ErrorKind::kUsage, "OMP_NUM_THREADS='100000': at most 4096 threads",
                     [&] { choose_threads(started_by("", 1), 0, "100000", share); });
}

TEST(Threads, WhatIsAskedForWins) {
  const RankEnvironment env = started_by("", 1);
  const CpuShare share{of_machine(8, 8), 1, 1};
  const auto choose = [&](int wanted, const char* omp) {
    return choose_threads(env, wanted, omp, share);
  };
  EXPECT_EQ(choose(5, "3").count, 5);
  EXPECT_EQ(choose(5, "3").source, "train.threads");
  EXPECT_EQ(choose(0, "3").count, 3);
  EXPECT_EQ(choose(0, "3").source, "OMP_NUM_THREADS");
  EXPECT_EQ(choose(0, "3,2").count, 3);
  for (const char* nothing : {"", "x", "0", "-2"}) {
    EXPECT_EQ(choose(0, nothing).count, 8) << nothing;
    EXPECT_EQ(choose(0, nothing).source, "") << nothing;
  }
}

std::string warning(const RankEnvironment& env, const CpuShare& share, int wanted = 0) {
  return choose_threads(env, wanted, nullptr, share).warning;
}

TEST(Threads, RankBoundToOneProcessorIsTold) {
  const CpuShare bound{of_machine(64, 1), 1, 2};
  EXPECT_EQ(warning(started_by("Open MPI", 2), bound),
            "Open MPI bound rank 0 to 1 of 64 processors: mpirun --bind-to none gives each rank 32 "
            "threads");
  EXPECT_THAT(warning(started_by("Slurm", 2), bound), HasSubstr("srun --cpus-per-task=32"));
  EXPECT_THAT(warning(started_by("Open MPI", 2), bound, 8), HasSubstr("--bind-to none"));
}

TEST(Threads, NobodyIsToldWithoutNeed) {
  const auto of_open_mpi = started_by("Open MPI", 2);
  EXPECT_EQ(warning(of_open_mpi, {of_machine(64, 32), 1, 2}), "");
  EXPECT_EQ(warning(of_open_mpi, {of_machine(2, 1), 1, 2}), "");      // its part
  EXPECT_EQ(warning(of_open_mpi, {of_machine(64, 1), 1, 2}, 1), "");  // as asked for
  EXPECT_EQ(warning(of_open_mpi, {of_machine(64, 1, 2), 1, 2}), "");  // no time for more
  EXPECT_EQ(warning(started_by("", 1), {of_machine(64, 1), 1, 1}), "");
}

}  // namespace
}  // namespace gradwire
