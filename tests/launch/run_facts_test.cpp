#include "launch/assemble/run_facts.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "tests/support/recipes.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

Recipe small_recipe() {
  Recipe r = lm_recipe();
  lm(r).data.text = {"corpus.txt"};
  return r;
}

// What each of three ranks throws if `change` is done to the recipe of the last.
template <class F>
std::vector<std::string> complaints(const F& change) {
  std::vector<std::string> all(3);
  run_ranks(3, [&](Communicator& comm) {
    Runtime runtime;
    const auto ranks = make_coordinator(runtime.context(), comm);
    Recipe recipe = small_recipe();
    std::string command = "train --resume auto";
    if (comm.rank() == 2) change(recipe, command);
    try {
      check_same_run(*ranks, run_facts(recipe, command));
    } catch (const DifferentRuns& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kConfig);
      EXPECT_EQ(e.said_here(), comm.rank() != 1);
      all[static_cast<std::size_t>(comm.rank())] = e.what();
    }
  });
  return all;
}

TEST(SameRun, WhatAHostMayHaveOfItsOwnIsNotCompared) {
  const auto all = complaints([](Recipe& r, std::string&) {
    lm(r).data.text = {"/elsewhere/corpus.txt"};
    r.run.dir = "/mnt/run";
    r.train.threads = 7;
    r.comm.address = "10.0.0.7:29400";
  });
  EXPECT_THAT(all, testing::Each(""));
}

TEST(SameRun, EveryKeyOfTheRunIsNamedWithItsValuesAndRanks) {
  const auto all = complaints([](Recipe& r, std::string&) {
    r.optim.lr = 0.5;
    r.seed = 9;
  });
  for (const std::string& text : all) {
    EXPECT_THAT(text, testing::HasSubstr("optim.lr: 0.001 on ranks 0 to 1, 0.5 on rank 2"));
    EXPECT_THAT(text, testing::HasSubstr("seed: 1 on ranks 0 to 1, 9 on rank 2"));
    EXPECT_THAT(text, testing::Not(testing::HasSubstr("optim.beta")));
  }
}

TEST(SameRun, TheCommandIsCompared) {
  const auto all =
      complaints([](Recipe&, std::string& command) { command = "train --resume none"; });
  EXPECT_THAT(all, testing::Each(testing::HasSubstr(
                       "command: train --resume auto on ranks 0 to 1, train --resume none on "
                       "rank 2")));
}

TEST(SameRun, TheFileOfAScheduleIsComparedByItsContent) {
  const test::TempFolder folder;
  folder.write("a", "one");
  folder.write("b", "two");
  for (const char* file : {"b", "nowhere"}) {
    std::vector<std::string> all(2);
    run_ranks(2, [&](Communicator& comm) {
      Runtime runtime;
      const auto ranks = make_coordinator(runtime.context(), comm);
      Recipe recipe = small_recipe();
      recipe.parallel.schedule = folder.file(comm.rank() == 0 ? "a" : file);
      try {
        check_same_run(*ranks, run_facts(recipe, "train"));
      } catch (const DifferentRuns& e) {
        all[static_cast<std::size_t>(comm.rank())] = e.what();
      }
    });
    EXPECT_THAT(all, testing::Each(testing::HasSubstr("content of parallel.schedule: ")));
  }
}

TEST(SameRun, RanksAreToldInShort) {
  std::string text;
  run_ranks(6, [&](Communicator& comm) {
    Runtime runtime;
    const auto ranks = make_coordinator(runtime.context(), comm);
    const bool odd = comm.rank() == 1 || comm.rank() == 4 || comm.rank() == 5;
    try {
      check_same_run(*ranks, {{"data", odd ? "b" : "a"}});
    } catch (const DifferentRuns& e) {
      if (comm.rank() == 0) text = e.what();
    }
  });
  EXPECT_THAT(text, testing::HasSubstr("data: a on ranks 0, 2 to 3, b on ranks 1, 4 to 5"));
}

}  // namespace
}  // namespace gradwire
