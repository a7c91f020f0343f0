// In which order a save asks the disk for things: a file is synced before the folder that names it,
// both before the rename that commits them, and the rename before anything older is deleted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/file.h"
#include "tests/support/file_calls.h"
#include "tests/support/temp_folder.h"
#include "tests/train/checkpoint_run.h"

namespace gradwire {
namespace {

using test::FileCalls;
using test::SmallRun;
using test::ThreadRanks;
using testing::ElementsAre;

class CheckpointDurability : public testing::Test {
 protected:
  std::vector<std::string> calls_of_save(std::int64_t step, FileHook hook = {}) {
    FileCalls calls(folder.path().string());
    SmallRun run(1);
    const SaveOptions options = {
        .dir = dir, .run = {"tiny", ""}, .keep_last = 1, .before_file_operation = std::move(hook)};
    const SaveResult saved = save_checkpoint(run.cx, options, step, run.state(), one);
    EXPECT_TRUE(saved.committed) << saved.why;
    EXPECT_THAT(saved.warnings, testing::IsEmpty());
    return calls.take();
  }

  test::TempFolder folder;
  std::string dir = folder.file("run/c");
  SingleRank one;
};

TEST_F(CheckpointDurability, TheFirstSaveAlsoSyncsTheFoldersItMakes) {
  EXPECT_THAT(
      calls_of_save(1),
      ElementsAre("fsync .", "fsync run",  //
                  "fsync run/c/step-00000001.tmp/rank-00000.h5",
                  "fsync run/c/step-00000001.tmp/manifest.json", "fsync run/c/step-00000001.tmp",
                  "rename run/c/step-00000001.tmp run/c/step-00000001", "fsync run/c"));
}

TEST_F(CheckpointDurability, TheCommitIsOnDiskBeforeAnOlderStepGoes) {
  calls_of_save(1);
  EXPECT_THAT(
      calls_of_save(2),
      ElementsAre("fsync run/c/step-00000002.tmp/rank-00000.h5",
                  "fsync run/c/step-00000002.tmp/manifest.json", "fsync run/c/step-00000002.tmp",
                  "rename run/c/step-00000002.tmp run/c/step-00000002", "fsync run/c",
                  "rename run/c/step-00000001 run/c/.trash"));
}

TEST_F(CheckpointDurability, AStepIsReplacedInOneMoment) {
  calls_of_save(1);
  EXPECT_THAT(
      calls_of_save(1),
      ElementsAre("fsync run/c/step-00000001.tmp/rank-00000.h5",
                  "fsync run/c/step-00000001.tmp/manifest.json", "fsync run/c/step-00000001.tmp",
                  "exchange run/c/step-00000001.tmp run/c/step-00000001", "fsync run/c",
                  "rename run/c/step-00000001.tmp run/c/.trash"));
}

TEST_F(CheckpointDurability, WithoutExchangeTheOldOneStaysUntilTheNewOneIsOnDisk) {
  calls_of_save(1);
  const auto no_exchange = [](std::string_view operation, const std::string&) {
    if (operation == "exchange") throw Error(ErrorKind::kIo, "not supported");
  };
  EXPECT_THAT(
      calls_of_save(1, no_exchange),
      ElementsAre("fsync run/c/step-00000001.tmp/rank-00000.h5",
                  "fsync run/c/step-00000001.tmp/manifest.json", "fsync run/c/step-00000001.tmp",
                  "rename run/c/step-00000001 run/c/step-00000001.replaced", "fsync run/c",
                  "rename run/c/step-00000001.tmp run/c/step-00000001", "fsync run/c",
                  "rename run/c/step-00000001.replaced run/c/.trash"));
}

TEST_F(CheckpointDurability, AllRanksHaveSyncedBeforeTheManifestIsWritten) {
  FileCalls calls(folder.path().string());
  ThreadRanks::run(3, [&](Coordinator& ranks) {
    SmallRun run(1, ranks.rank());
    save_checkpoint(run.cx, {.dir = dir, .run = {"tiny", ""}}, 1, run.state(), ranks);
  });
  const std::vector<std::string> made = calls.take();
  ASSERT_EQ(made.size(), 9U);
  EXPECT_THAT(std::vector(made.begin() + 2, made.begin() + 5),
              testing::UnorderedElementsAre("fsync run/c/step-00000001.tmp/rank-00000.h5",
                                            "fsync run/c/step-00000001.tmp/rank-00001.h5",
                                            "fsync run/c/step-00000001.tmp/rank-00002.h5"));
  EXPECT_EQ(made[5], "fsync run/c/step-00000001.tmp/manifest.json");
}

TEST_F(CheckpointDurability, ASmallFileIsOnDiskBeforeItHasItsName) {
  FileCalls calls(folder.path().string());
  publish_text(folder.file("a.txt"), "text");
  EXPECT_THAT(calls.take(), ElementsAre("fsync a.txt.tmp", "rename a.txt.tmp a.txt", "fsync ."));
}

}  // namespace
}  // namespace gradwire
