#include "launch/start/exit_code.h"

#include <filesystem>
#include <new>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "train/same_run.h"

#include "jobs/job_list.h"

namespace gradwire {
namespace {

int code(ErrorKind kind) {
  return static_cast<int>(exit_code_of(kind));
}

// The numbers are a promise to scripts.
TEST(ExitCode, OfEachKind) {
  EXPECT_EQ(code(ErrorKind::kInternal), 1);
  EXPECT_EQ(code(ErrorKind::kShape), 1);
  EXPECT_EQ(code(ErrorKind::kDevice), 1);
  EXPECT_EQ(code(ErrorKind::kUsage), 2);
  EXPECT_EQ(code(ErrorKind::kConfig), 2);
  EXPECT_EQ(code(ErrorKind::kData), 3);
  EXPECT_EQ(code(ErrorKind::kCheckpoint), 4);
  EXPECT_EQ(code(ErrorKind::kNumeric), 5);
  EXPECT_EQ(code(ErrorKind::kComm), 6);
  EXPECT_EQ(code(ErrorKind::kIo), 8);
  EXPECT_EQ(code(ErrorKind::kMemory), 8);
  EXPECT_EQ(static_cast<int>(ExitCode::kDone), 0);
  EXPECT_EQ(static_cast<int>(ExitCode::kStalled), 7);
  EXPECT_EQ(static_cast<int>(ExitCode::kStopped), 75);
}

TEST(ExitCode, OfForeignExceptions) {
  EXPECT_EQ(exit_code_of(std::bad_alloc()), ExitCode::kResources);
  EXPECT_EQ(exit_code_of(std::filesystem::filesystem_error("x", std::error_code())),
            ExitCode::kResources);
  for (const std::errc full : {std::errc::no_space_on_device, std::errc::io_error})
    EXPECT_EQ(exit_code_of(std::filesystem::filesystem_error("x", std::make_error_code(full))),
              ExitCode::kResources);
  for (const std::errc refused : {std::errc::permission_denied, std::errc::read_only_file_system,
                                  std::errc::operation_not_permitted}) {
    const std::filesystem::filesystem_error e("x", "/a", std::make_error_code(refused));
    EXPECT_EQ(exit_code_of(e), ExitCode::kUsage);
    EXPECT_THAT(failure_text(e, {}), testing::StartsWith("gradwire: recipe: "));
    EXPECT_THAT(failure_text(e, {}), testing::HasSubstr("/a"));
  }
  EXPECT_EQ(exit_code_of(std::runtime_error("x")), ExitCode::kBug);
}

RankEnvironment rank_of_four(int rank) {
  RankEnvironment env;
  env.rank = rank;
  env.size = 4;
  env.source = "Open MPI";
  return env;
}

TEST(FailureText, NamesKindAndRank) {
  const Error e(ErrorKind::kNumeric, "loss is nan");
  EXPECT_EQ(failure_text(e, {}), "gradwire: numeric: loss is nan");
  EXPECT_EQ(failure_text(e, rank_of_four(2)), "[rank 2] gradwire: numeric: loss is nan");
  EXPECT_EQ(failure_text(std::runtime_error("odd"), {}), "gradwire: internal: odd");
}

// A rank may have been given another command line than rank 0: it always says what it met.
TEST(FailureText, WhatAllRanksMayHaveMetIsLikelySaidByRank0) {
  const RecipeError typo({{"a.toml", 3, "optim.rl", "unknown key", false}});
  EXPECT_EQ(failure_text(typo, rank_of_four(1)),
            "[rank 1] gradwire: recipe: a.toml:3: optim.rl: unknown key");
  EXPECT_TRUE(is_likely_said_by_rank_0(typo, rank_of_four(1)));
  EXPECT_FALSE(is_likely_said_by_rank_0(typo, rank_of_four(0)));
  EXPECT_TRUE(is_likely_said_by_rank_0(Error(ErrorKind::kUsage, "what?"), rank_of_four(1)));
}

TEST(FailureText, WhatOnlyThisHostMeetsIsNot) {
  const RecipeError missing({{"a.toml", 0, "", "cannot be read", true}});
  EXPECT_EQ(failure_text(missing, rank_of_four(3)),
            "[rank 3] gradwire: recipe: a.toml: cannot be read");
  EXPECT_FALSE(is_likely_said_by_rank_0(missing, rank_of_four(3)));
}

TEST(FailureText, RanksThatDifferAreSaidByRank0AndByThoseThatDiffer) {
  EXPECT_EQ(failure_text(DifferentRuns("optim.lr", false), rank_of_four(1)), "");
  EXPECT_EQ(failure_text(DifferentRuns("optim.lr", true), rank_of_four(3)),
            "[rank 3] gradwire: recipe: optim.lr");
  EXPECT_EQ(exit_code_of(DifferentRuns("optim.lr", false)), ExitCode::kUsage);
}

}  // namespace
}  // namespace gradwire
