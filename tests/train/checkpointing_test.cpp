// Where a run goes on from, start after start: the same command always goes on, and what belongs to
// another line of steps is moved aside and never lost.
#include "train/checkpoint/checkpointing.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/data/temp_folder.h"
#include "tests/train/checkpoint_run.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;
using test::SmallRun;
using testing::ElementsAre;
using testing::IsEmpty;

class CheckpointingTest : public testing::Test {
 protected:
  CheckpointPolicy policy() const {
    CheckpointPolicy p;
    p.dir = dir;
    p.keep = keep;
    p.run = {"tiny", "recipe"};
    p.last_step = 100;
    p.course = course;
    return p;
  }
  // One process: starts as `from` says, and saves at these steps before it is stopped. Gives the
  // step it went on from, -1 if it began.
  std::int64_t start(const std::string& from, const std::vector<std::int64_t>& saves) {
    SmallRun run(1);
    Checkpointing checkpoints(one, policy());
    checkpoints.track(run.state());
    const std::optional<LoadResult> loaded = checkpoints.resume(run.cx, from);
    aside = checkpoints.begin();
    for (const std::int64_t step : saves) {
      const SaveResult saved = checkpoints.save(run.cx, step);
      EXPECT_TRUE(saved.committed) << saved.why;
    }
    return loaded ? loaded->step : -1;
  }
  std::vector<std::int64_t> steps(const std::string& in) const {
    std::vector<std::int64_t> all;
    for (const CheckpointPlace& place : list_checkpoints(in))
      all.push_back(place.step);
    return all;
  }
  std::string step_path(std::int64_t step) const { return dir + "/" + step_name(step); }

  testing_data::TempFolder folder;
  std::string dir = folder.file("checkpoints"), aside, course = "one";
  std::int64_t keep = 0;
  SingleRank one;
};

TEST_F(CheckpointingTest, AutoBeginsAndGoesOn) {
  EXPECT_EQ(start("auto", {10, 20}), -1);
  EXPECT_EQ(start("auto", {30}), 20);
  EXPECT_EQ(aside, "");
  EXPECT_THAT(steps(dir), ElementsAre(30, 20, 10));
}

TEST_F(CheckpointingTest, RewindingMovesLaterOnesAsideAndTheSameCommandGoesOn) {
  start("auto", {10, 20, 30, 40});
  const std::string at_20 = step_path(20);
  EXPECT_EQ(start(at_20, {}), 20);
  EXPECT_THAT(aside, testing::StartsWith(dir + "/aside-"));
  EXPECT_THAT(steps(aside), ElementsAre(40, 30));
  EXPECT_THAT(steps(dir), ElementsAre(20, 10));
  EXPECT_EQ(start("auto", {}), 20);
  EXPECT_EQ(start(at_20, {25}), 20);
  EXPECT_EQ(aside, "");
  EXPECT_EQ(start(at_20 + "/", {35}), 25);
  EXPECT_EQ(start(at_20, {}), 35);
  EXPECT_EQ(start("auto", {45}), 35);
  EXPECT_EQ(start(at_20, {}), 45);
  EXPECT_EQ(aside, "");
  EXPECT_THAT(steps(dir), ElementsAre(45, 35, 25, 20, 10));
}

TEST_F(CheckpointingTest, ItStillGoesOnWhenNewerOnesHavePushedTheNamedOneOut) {
  start("auto", {10, 20, 30});
  keep = 2;
  start(step_path(20), {25, 35});
  EXPECT_THAT(steps(dir), ElementsAre(35, 25));
  EXPECT_EQ(start(step_path(20), {45}), 35);
  EXPECT_EQ(start(step_path(20), {}), 45);
  EXPECT_EQ(aside, "");
}

TEST_F(CheckpointingTest, RewindingWithinARewoundRun) {
  start("auto", {10, 20, 30});
  start(step_path(20), {25, 35});
  EXPECT_EQ(start(step_path(25), {40}), 25);
  EXPECT_THAT(steps(aside), ElementsAre(35));
  EXPECT_EQ(start(step_path(25), {}), 40);
  EXPECT_EQ(start(step_path(20), {}), 40);
  EXPECT_THAT(steps(dir), ElementsAre(40, 25, 20, 10));
}

TEST_F(CheckpointingTest, AStepSavedAgainIsAnotherCheckpoint) {
  start("auto", {10, 20, 30});
  start(step_path(20), {30});
  start(step_path(10), {15, 20});
  EXPECT_THAT(steps(aside), ElementsAre(30, 20));
  EXPECT_EQ(start(step_path(20), {}), 20);
  EXPECT_EQ(start(step_path(10), {}), 20);
}

TEST_F(CheckpointingTest, ACheckpointOfAnotherFolderIsTheBeginningOfThisRun) {
  start("auto", {10, 20});
  const std::string there = step_path(20);
  const std::string first = dir;
  dir = folder.file("other/checkpoints");
  start("auto", {5, 60});
  EXPECT_EQ(start(there, {25}), 20);
  EXPECT_THAT(steps(aside), ElementsAre(60, 5));
  EXPECT_EQ(start(there, {35}), 25);
  EXPECT_EQ(aside, "");
  EXPECT_THAT(steps(dir), ElementsAre(35, 25));
  EXPECT_THAT(steps(first), ElementsAre(20, 10));
}

TEST_F(CheckpointingTest, NoneStartsOverOnceAndThenGoesOn) {
  start("auto", {10, 20});
  EXPECT_EQ(start("none", {5}), -1);
  EXPECT_THAT(steps(aside), ElementsAre(20, 10));
  EXPECT_EQ(start("none", {15}), 5);
  EXPECT_EQ(start("auto", {30}), 15);
  EXPECT_EQ(start("none", {100}), 30);
  EXPECT_EQ(aside, "");
  EXPECT_EQ(start("none", {}), -1) << "a finished run is done again";
  EXPECT_THAT(steps(aside), ElementsAre(100, 30, 15, 5));
  EXPECT_THAT(steps(dir), IsEmpty());
}

TEST_F(CheckpointingTest, NoneOnAnotherCourseStartsOver) {
  start("none", {10});
  course = "two";
  EXPECT_EQ(start("none", {}), -1);
  EXPECT_THAT(steps(aside), ElementsAre(10));
}

TEST_F(CheckpointingTest, AStartThatIsRefusedChangesNothing) {
  start("auto", {10, 20, 30});
  fs::create_directory(dir + "/step-00000040.tmp-h-1-2");
  const std::vector<std::string> before = names_in(dir);
  SmallRun run(1);
  CheckpointPolicy other = policy();
  other.run.model = "large";
  for (const std::string& from : {std::string("auto"), step_path(20), folder.file("absent")}) {
    Checkpointing checkpoints(one, other);
    checkpoints.track(run.state());
    testing_data::expect_error(ErrorKind::kCheckpoint, {"no checkpoint can be loaded"},
                               [&] { checkpoints.resume(run.cx, from); });
    EXPECT_EQ(names_in(dir), before);
  }
}

TEST_F(CheckpointingTest, AFolderOfCheckpointsIsNotOneOfThem) {
  start("auto", {10, 20});
  for (const std::string& named : {fs::path(dir).parent_path().string(), dir, dir + "/"}) {
    try {
      start(named, {});
      ADD_FAILURE() << named << " was taken for a checkpoint";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kUsage);
      EXPECT_THAT(e.what(), testing::HasSubstr("--resume " + named));
      EXPECT_THAT(e.what(), testing::HasSubstr("step-00000020, "));
      EXPECT_THAT(e.what(), testing::HasSubstr("step-00000010"));
    }
  }
}

TEST_F(CheckpointingTest, TheObjectionToARecipeIsHeard) {
  start("auto", {10});
  SmallRun run(1);
  CheckpointPolicy other = policy();
  other.objection = [](const std::string& saved) { return "it says " + saved; };
  Checkpointing checkpoints(one, other);
  checkpoints.track(run.state());
  testing_data::expect_error(ErrorKind::kCheckpoint, {"step-00000010: it says recipe"},
                             [&] { checkpoints.resume(run.cx, "auto"); });
}

// A file system that does not answer must not make a run start at step 0.
TEST_F(CheckpointingTest, AFailedListingIsNoEmptyRun) {
  start("auto", {10, 20});
  for (const std::string& from : {std::string("auto"), std::string("none"), step_path(10)}) {
    for (const std::string wanted : {"list", "read"}) {
      SCOPED_TRACE(from + ", " + wanted);
      SmallRun run(1);
      CheckpointPolicy failing = policy();
      failing.before_file_operation = [&](std::string_view operation, const std::string& path) {
        if (operation == wanted) throw Error(ErrorKind::kIo, path + ": Permission denied");
      };
      Checkpointing checkpoints(one, failing);
      checkpoints.track(run.state());
      testing_data::expect_error(ErrorKind::kIo, {dir, "Permission denied"},
                                 [&] { checkpoints.resume(run.cx, from); });
      EXPECT_THAT(steps(dir), ElementsAre(20, 10));
    }
  }
}

// The one that was loaded is not pushed out by damaged ones that were passed over.
TEST_F(CheckpointingTest, WhatWasPassedOverDoesNotCountAsKept) {
  start("auto", {10, 20, 30});
  for (const std::int64_t step : {20, 30})
    testing_data::flip_bit(step_path(step) + "/rank-00000.h5", 5000);
  keep = 2;
  EXPECT_EQ(start("auto", {35}), 10);
  EXPECT_THAT(steps(dir), ElementsAre(35, 30, 20, 10));
}

}  // namespace
}  // namespace gradwire
