#include "launch/start/environment.h"

#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"

namespace gradwire {
namespace {

using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

RankEnvironment read(const Variables& variables) {
  return read_rank_environment([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string complaint(const Variables& variables) {
  try {
    read(variables);
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUsage);
    return e.what();
  }
}

void expect_ranks(const RankEnvironment& env, int rank, int size, int local_rank, int local_size) {
  EXPECT_EQ(env.rank, rank);
  EXPECT_EQ(env.size, size);
  EXPECT_EQ(env.local_rank, local_rank);
  EXPECT_EQ(env.local_size, local_size);
}

const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "5"},
                            {"OMPI_COMM_WORLD_SIZE", "8"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};

Variables with(Variables all, const Variables& more) {
  for (const auto& [name, value] : more)
    all[name] = value;
  return all;
}

TEST(RankEnvironment, AloneWhereNothingIsSet) {
  const RankEnvironment env = read({});
  expect_ranks(env, 0, 1, 0, 1);
  EXPECT_FALSE(env.launched());
}

TEST(RankEnvironment, EachLauncher) {
  expect_ranks(read(kOpenMpi), 5, 8, 1, 4);
  EXPECT_EQ(read(kOpenMpi).source, "Open MPI");
  expect_ranks(read({{"GRADWIRE_RANK", "1"},
                     {"GRADWIRE_SIZE", "3"},
                     {"GRADWIRE_LOCAL_RANK", "1"},
                     {"GRADWIRE_LOCAL_SIZE", "3"}}),
               1, 3, 1, 3);
  expect_ranks(
      read({{"RANK", "3"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}}), 3,
      4, 1, 2);
  expect_ranks(read({{"PMI_RANK", "2"},
                     {"PMI_SIZE", "6"},
                     {"MPI_LOCALRANKID", "2"},
                     {"MPI_LOCALNRANKS", "3"}}),
               2, 6, 2, 3);
  expect_ranks(read({{"SLURM_STEP_ID", "0"},
                     {"SLURM_PROCID", "6"},
                     {"SLURM_NTASKS", "7"},
                     {"SLURM_LOCALID", "0"},
                     {"SLURM_NODEID", "3"},
                     {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"}}),
               6, 7, 0, 1);
}

TEST(RankEnvironment, SlurmTasksPerNode) {
  const Variables base = {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "9"}};
  const auto local_size = [&](const char* list, const char* node) {
    return read(with(base, {{"SLURM_TASKS_PER_NODE", list}, {"SLURM_NODEID", node}})).local_size;
  };
  EXPECT_EQ(local_size("4,3(x2),5", "0"), 4);
  EXPECT_EQ(local_size("4,3(x2),5", "2"), 3);
  EXPECT_EQ(local_size("4,3(x2),5", "3"), 5);
  EXPECT_EQ(local_size("4", "1"), 1);  // a host that the list does not have
  EXPECT_THAT(complaint(with(base, {{"SLURM_TASKS_PER_NODE", "x"}, {"SLURM_NODEID", "0"}})),
              HasSubstr("SLURM_TASKS_PER_NODE='x': expected a count"));
}

TEST(RankEnvironment, BatchScriptIsNoTask) {
  EXPECT_FALSE(read({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).launched());
}

TEST(RankEnvironment, BelowMpirunSlurmDescribesTheDaemon) {
  const Variables slurm = {{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_NTASKS", "2"}};
  expect_ranks(read(with(kOpenMpi, slurm)), 5, 8, 1, 4);
}

TEST(RankEnvironment, PmixWithSlurmAgree) {
  expect_ranks(read({{"PMIX_RANK", "1"},
                     {"SLURM_STEP_ID", "0"},
                     {"SLURM_PROCID", "1"},
                     {"SLURM_NTASKS", "4"},
                     {"SLURM_LOCALID", "1"}}),
               1, 4, 1, 2);
}

TEST(RankEnvironment, DisagreementIsAnErrorThatNamesBoth) {
  EXPECT_EQ(complaint(with(kOpenMpi, {{"RANK", "0"}, {"WORLD_SIZE", "8"}})),
            "torchrun (RANK=0) says rank 0 of 8, but Open MPI (OMPI_COMM_WORLD_RANK=5) says rank 5 "
            "of 8: unset the variables of the one that did not start this process");
  EXPECT_THAT(complaint(with(kOpenMpi, {{"RANK", "5"}, {"WORLD_SIZE", "6"}})),
              HasSubstr("rank 5 of 6, but Open MPI"));
  EXPECT_THAT(complaint({{"PMIX_RANK", "2"},
                         {"SLURM_STEP_ID", "0"},
                         {"SLURM_PROCID", "1"},
                         {"SLURM_NTASKS", "4"}}),
              HasSubstr("but Slurm (SLURM_PROCID=1)"));
  EXPECT_EQ(complaint(with(kOpenMpi, {{"PMIX_RANK", "5"}})), "");
}

TEST(RankEnvironment, RankAloneIsNotTorchrun) {
  EXPECT_FALSE(read({{"RANK", "gold"}}).launched());
}

TEST(RankEnvironment, ValuesThatAreNoCounts) {
  EXPECT_EQ(complaint(with(kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "1x"}})),
            "OMPI_COMM_WORLD_RANK='1x': expected a count");
  EXPECT_EQ(complaint(with(kOpenMpi, {{"OMPI_COMM_WORLD_SIZE", "-8"}})),
            "OMPI_COMM_WORLD_SIZE='-8': expected a count");
  EXPECT_EQ(complaint(with(kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "8"}})),
            "OMPI_COMM_WORLD_RANK=8 is not below OMPI_COMM_WORLD_SIZE=8");
}

TEST(RankEnvironment, HalfOfAPairIsAnError) {
  EXPECT_EQ(complaint({{"RANK", ""}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "h"}}),
            "RANK='': expected a count");
  EXPECT_EQ(complaint({{"WORLD_SIZE", "2"}}),
            "WORLD_SIZE=2, but RANK is not set: which of them is this process? Set it, or unset "
            "WORLD_SIZE");
  EXPECT_EQ(complaint({{"RANK", "1"}, {"WORLD_SIZE", ""}}), "WORLD_SIZE='': expected a count");
  EXPECT_EQ(complaint({{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"LOCAL_RANK", ""}}),
            "LOCAL_RANK='': expected a count");
  EXPECT_FALSE(read({{"RANK", ""}, {"WORLD_SIZE", ""}}).launched());
}

// salloc's shell counts the tasks of the job, none of which it is.
TEST(RankEnvironment, AShellInsideAJobIsNoTaskOfIt) {
  for (const char* special : {"4294967290", "4294967291"}) {  // interactive, batch
    EXPECT_FALSE(read({{"SLURM_STEP_ID", special}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}})
                     .launched());
  }
  expect_ranks(read({{"SLURM_STEP_ID", "1"},
                     {"SLURM_PROCID", "0"},
                     {"SLURM_NTASKS", "4"},
                     {"SLURM_STEP_NUM_TASKS", "1"}}),
               0, 1, 0, 1);
  EXPECT_EQ(complaint({{"SLURM_STEP_ID", "1"},
                       {"SLURM_PROCID", "2"},
                       {"SLURM_NTASKS", "4"},
                       {"SLURM_STEP_NUM_TASKS", "2"}}),
            "SLURM_PROCID=2 is not below SLURM_STEP_NUM_TASKS=2");
}

TEST(RankEnvironment, SaysWhoSaysSoAndHowToRunAlone) {
  EXPECT_EQ(to_text(read({{"SLURM_STEP_ID", "1"},
                          {"SLURM_PROCID", "0"},
                          {"SLURM_NTASKS", "4"},
                          {"SLURM_STEP_NUM_TASKS", "4"}})),
            "rank 0 of 4, as Slurm says (SLURM_STEP_ID=1, SLURM_PROCID=0, SLURM_STEP_NUM_TASKS=4, "
            "SLURM_NTASKS=4); to run alone: env -u SLURM_STEP_ID gradwire ...");
  EXPECT_EQ(to_text(read({{"RANK", "1"}, {"WORLD_SIZE", "2"}})),
            "rank 1 of 2, as torchrun says (RANK=1, WORLD_SIZE=2); to run alone: env -u WORLD_SIZE "
            "gradwire ...");
  EXPECT_EQ(to_text(read({})), "the only rank");
}

TEST(CheckWorld, MpiOfAnotherLauncherIsFound) {
  const RankEnvironment env = read(kOpenMpi);
  EXPECT_NO_THROW(check_world(env, 5, 8));
  EXPECT_NO_THROW(check_world({}, 0, 1));
  try {
    check_world(env, 0, 1);
    FAIL() << "was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kUsage);
    EXPECT_THAT(e.what(), HasSubstr("Open MPI started this process as rank 5 of 8, but MPI counts "
                                    "rank 0 of 1"));
  }
}

}  // namespace
}  // namespace gradwire
