// Damage done to checkpoints, and saves that fail or die at every operation: a load finds the old
// checkpoint or the new one, whole, and says what was wrong with what it passed over.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "core/hash.h"
#include "tests/data/temp_folder.h"
#include "tests/train/checkpoint_run.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;
using test::SmallRun;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_data::flip_bit;
using testing_data::slurp;

class CheckpointFault : public testing::Test {
 protected:
  SaveResult save(std::int64_t step, int seed, FileHook hook = {}, std::int64_t keep_last = 0) {
    SmallRun run(seed);
    return save_checkpoint(
        run.cx,
        {.dir = dir, .run = {"tiny", ""}, .keep_last = keep_last, .before_file_operation = hook},
        step, run.state(), one);
  }
  // The seed of the state that a load gives, after checking that it is all of one seed.
  int loaded_seed() {
    SmallRun run(99);
    result = load_checkpoint(run.cx, paths_of(list_checkpoints(dir)), {.model = "tiny"},
                             run.state(), one);
    const int seed = static_cast<int>(run.position / 1000);
    EXPECT_EQ(run.bytes(), SmallRun(seed).bytes());
    return seed;
  }
  void expect_fallback(const std::string& reason) {
    EXPECT_EQ(loaded_seed(), 1);
    ASSERT_EQ(result.warnings.size(), 1U);
    EXPECT_THAT(result.warnings[0], HasSubstr("step-00000002"));
    EXPECT_THAT(result.warnings[0], HasSubstr(reason));
    EXPECT_THAT(verify_checkpoint(newest).problems, testing::Contains(HasSubstr(reason)));
    EXPECT_THAT(verify_checkpoint(dir + "/step-00000001").problems, IsEmpty());
  }

  testing_data::TempFolder folder;
  std::string dir = folder.file("checkpoints");
  std::string newest = dir + "/step-00000002";
  std::string shard = newest + "/rank-00000.h5";
  std::string manifest = newest + "/manifest.json";
  SingleRank one;
  LoadResult result;
};

class DamagedCheckpoint : public CheckpointFault {
 protected:
  void SetUp() override {
    ASSERT_TRUE(save(1, 1).committed);
    ASSERT_TRUE(save(2, 2).committed);
    ASSERT_EQ(loaded_seed(), 2);
  }
};

TEST_F(DamagedCheckpoint, TruncatedFile) {
  fs::resize_file(shard, fs::file_size(shard) * 7 / 10);
  expect_fallback("rank-00000.h5: ");
}

TEST_F(DamagedCheckpoint, EmptyFile) {
  fs::resize_file(shard, 0);
  expect_fallback("rank-00000.h5: 0 bytes, the manifest says");
}

TEST_F(DamagedCheckpoint, MissingFile) {
  fs::remove(shard);
  expect_fallback("rank-00000.h5: missing");
}

TEST_F(DamagedCheckpoint, ForeignFile) {
  std::ofstream(newest + "/rank-00001.h5") << "who";
  expect_fallback("rank-00001.h5: not of this checkpoint");
}

TEST_F(DamagedCheckpoint, MissingOrEmptyManifest) {
  std::ofstream(manifest, std::ios::trunc) << "";
  expect_fallback("manifest.json: damaged");
  fs::remove(manifest);
  expect_fallback("manifest.json: open: No such file");
}

TEST_F(DamagedCheckpoint, FileOfAnotherStep) {
  fs::copy_file(dir + "/step-00000001/rank-00000.h5", shard, fs::copy_options::overwrite_existing);
  expect_fallback("; it is the file of rank 0 of step 1");
}

TEST_F(DamagedCheckpoint, FolderUnderAnotherName) {
  fs::remove_all(newest);
  fs::copy(dir + "/step-00000001", newest);
  expect_fallback("manifest.json: of step 1, in a folder named step-00000002");
}

TEST_F(DamagedCheckpoint, BitFlippedAnywhereInTheData) {
  const std::string good = slurp(shard);
  for (std::size_t byte = 0; byte < good.size(); byte += 1 + good.size() / 40) {
    flip_bit(shard, byte);
    SCOPED_TRACE(byte);
    expect_fallback("rank-00000.h5: its checksum is not the manifest's");
    flip_bit(shard, byte);
  }
  EXPECT_EQ(loaded_seed(), 2);
}

TEST_F(DamagedCheckpoint, BitFlippedAnywhereInTheManifest) {
  const std::string good = slurp(manifest);
  EXPECT_NO_THROW(parse_manifest(good));
  for (std::size_t byte = 0; byte + 1 < good.size(); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[byte] = static_cast<char>(bad[byte] ^ (1 << bit));
      EXPECT_THROW(parse_manifest(bad), Error) << "byte " << byte << " bit " << bit;
    }
  }
  flip_bit(manifest, good.size() / 2);
  expect_fallback("manifest.json: damaged");
}

TEST_F(DamagedCheckpoint, BothDamagedIsAnErrorThatNamesBoth) {
  fs::remove(shard);
  fs::remove(dir + "/step-00000001/manifest.json");
  testing_data::expect_error(
      ErrorKind::kCheckpoint,
      {"no checkpoint can be loaded", "step-00000002: rank-00000.h5: missing",
       "step-00000001: ", "manifest.json: open: No such file"},
      [&] { loaded_seed(); });
}

// A manifest whose own checksum is right, whatever it says.
std::string sealed(nlohmann::json j) {
  j.erase("xxh3");
  std::string text = j.dump();
  text.back() = ',';
  text += "\n";
  return text + "\"xxh3\":\"" + to_hex(hash_of(text)) + "\"}\n";
}

TEST_F(DamagedCheckpoint, LaterFormat) {
  nlohmann::json j = nlohmann::json::parse(slurp(manifest));
  j["format"] = kCheckpointFormat + 1;
  std::ofstream(manifest) << sealed(j);
  expect_fallback("manifest.json: format 3, written by a later version; this one reads up to 2");
}

// Sealed with a right checksum, so that only the checks of meaning are left to refuse it.
TEST_F(DamagedCheckpoint, ManifestsThatSayWhatCannotBe) {
  const nlohmann::json good = nlohmann::json::parse(slurp(manifest));
  EXPECT_NO_THROW(parse_manifest(sealed(good)));
  const std::int64_t huge = std::int64_t{1} << 62;
  const std::vector<std::pair<std::string, nlohmann::json>> lies = {
      {"/step", -1},
      {"/step", "two"},
      {"/step", 1e300},
      {"/step", ~std::uint64_t{0}},
      {"/ranks", (std::int64_t{1} << 32) + 1},
      {"/state/0/names/0", "wte\nmanifest: ok"},
      {"/state/0/names/0", std::string(2000, 'a')},
      {"/state/0/shape", "33"},
      {"/state/0/shape", {2.5}},
      {"/ranks", 0},
      {"/ranks", huge},
      {"/files/0/rank", 1},
      {"/files/0/rank", -1},
      {"/files/0/xxh3", "not hex"},
      {"/state", 3},
      {"/state/0/kind", "tensors"},
      {"/state/0/dtype", "f16"},
      {"/state/0/ranks/0", 7},
      {"/state/0/ranks", nlohmann::json::array()},
      {"/state/0/ranks", {0, 0}},
      {"/state/0/xxh3", ""},
      {"/state/0/at", nlohmann::json::array()},
      {"/state/0/at/0", -1},
      {"/state/0/at/0", std::numeric_limits<std::int64_t>::max()},
      {"/state/0/shape", {4, huge}},
      {"/state/0/shape", {-1}},
      {"/state/0/shape", {1, 1, 1, 1, 1, 1, 1}},
      {"/state/0/names/0", nullptr},
      {"/state/0/names", "none"},
  };
  for (const auto& [place, value] : lies) {
    nlohmann::json bad = good;
    bad[nlohmann::json::json_pointer(place)] = value;
    testing_data::expect_error(ErrorKind::kCheckpoint, {"manifest.json: "},
                               [&, text = sealed(bad)] { parse_manifest(text); });
  }
  nlohmann::json bad = good;
  bad["files"].push_back(bad["files"][0]);
  std::ofstream(manifest) << sealed(bad);
  expect_fallback("manifest.json: names 2 files for 1 ranks");
}

TEST_F(DamagedCheckpoint, ShapesBeyondTheFileAreRefusedBeforeTheyAreAllocated) {
  nlohmann::json j = nlohmann::json::parse(slurp(manifest));
  j["state"][0]["shape"] = {std::int64_t{1} << 40};
  std::ofstream(manifest) << sealed(j);
  expect_fallback("larger than its file");
}

TEST_F(DamagedCheckpoint, PlacesBeyondThePackAreRefused) {
  nlohmann::json j = nlohmann::json::parse(slurp(manifest));
  ASSERT_EQ(j["state"][0]["names"][0], "reducer/residual");
  j["state"][0]["at"][0] = 1000;
  std::ofstream(manifest) << sealed(j);
  expect_fallback("'reducer/residual': packed/f64 has no elements 1000 to 1005");
}

TEST_F(DamagedCheckpoint, PlacesOfAnotherPieceAreSeen) {
  nlohmann::json j = nlohmann::json::parse(slurp(manifest));
  j["state"][0]["at"][0] = 1;
  std::ofstream(manifest) << sealed(j);
  expect_fallback("rank-00000.h5: 'reducer/residual' is not what was saved");
}

// Each of them fits in the file, and all of them do not.
TEST_F(DamagedCheckpoint, AllThatARankHasSavedFitsInItsFile) {
  nlohmann::json j = nlohmann::json::parse(slurp(manifest));
  j["state"][0]["shape"] = {static_cast<std::int64_t>(fs::file_size(shard) / 8)};
  j["state"][1] = j["state"][0];
  j["state"][2] = j["state"][0];
  std::ofstream(manifest) << sealed(j);
  expect_fallback("larger than its file");
}

TEST_F(DamagedCheckpoint, TextOfAManifestIsShownInOneLine) {
  nlohmann::json j = nlohmann::json::parse(slurp(manifest));
  j["state"][0]["kind"] = "\x1b[2J\nall is well";
  std::ofstream(manifest) << sealed(j);
  expect_fallback("'\\x1b[2J\\x0aall is well'");
}

// Exactly these errors say nothing about a checkpoint, and none of them may look like its absence.
TEST_F(DamagedCheckpoint, WhatCannotBeReadIsAnErrorAndNoReasonToTakeAnOlderOne) {
  int operations = 0;
  const auto load = [&](const FileHook& hook) {
    SmallRun run(99);
    const std::vector<std::string> paths = paths_of(list_checkpoints(dir, hook));
    load_checkpoint(run.cx, paths, {.model = "tiny", .before_file_operation = hook}, run.state(),
                    one);
    EXPECT_EQ(run.bytes(), SmallRun(2).bytes());
  };
  load([&](std::string_view, const std::string&) { ++operations; });
  ASSERT_GE(operations, 5);  // list, manifest, size and content of the shard, list of its folder
  for (int fail_at = 0; fail_at < operations; ++fail_at) {
    SCOPED_TRACE(fail_at);
    int operation = 0;
    testing_data::expect_error(ErrorKind::kIo, {"stale file handle"}, [&] {
      load([&](std::string_view, const std::string&) {
        if (operation++ == fail_at) throw Error(ErrorKind::kIo, "stale file handle");
      });
    });
  }
}

// Errors of the kernel itself: a file that opens and cannot be read, a folder that cannot be found.
TEST_F(DamagedCheckpoint, TheKernelsErrorsAreNamed) {
  fs::remove(manifest);
  fs::create_symlink("/proc/self/mem", manifest);
  testing_data::expect_error(
      ErrorKind::kIo,
      {"step-00000002/manifest.json: read: Input/output error", "no older checkpoint is taken"},
      [&] { loaded_seed(); });
  const std::string loop = folder.file("loop");
  fs::create_symlink(loop, loop);
  testing_data::expect_error(ErrorKind::kIo, {"loop: list: Too many levels of symbolic links"},
                             [&] { list_checkpoints(loop); });
}

TEST_F(CheckpointFault, DamagedOnesDoNotCountAsKept) {
  for (int step = 1; step <= 3; ++step)
    ASSERT_TRUE(save(step, step).committed);
  fs::resize_file(dir + "/step-00000003/rank-00000.h5", 10);
  ASSERT_TRUE(save(4, 4, {}, 2).committed);
  EXPECT_THAT(names_in(dir), ElementsAre("step-00000002", "step-00000003", "step-00000004"));
  // What a load has found, and a look at sizes cannot: a bit in the middle.
  flip_bit(dir + "/step-00000004/rank-00000.h5", 5000);
  SmallRun run(5);
  SaveOptions options = {.dir = dir, .run = {"tiny", ""}, .keep_last = 2};
  options.damaged = {dir + "/step-00000004"};
  ASSERT_TRUE(save_checkpoint(run.cx, options, 5, run.state(), one).committed);
  EXPECT_THAT(names_in(dir),
              ElementsAre("step-00000002", "step-00000003", "step-00000004", "step-00000005"));
  ASSERT_TRUE(save(6, 6, {}, 2).committed);
  EXPECT_THAT(names_in(dir), ElementsAre("step-00000005", "step-00000006"));
}

TEST_F(CheckpointFault, FailureAtAnyOperationLeavesAGoodCheckpointAndTrainingGoesOn) {
  int failed = 0;
  bool reached = true;
  for (int fail_at = 0; reached; ++fail_at) {
    SCOPED_TRACE(fail_at);
    fs::remove_all(dir);
    ASSERT_TRUE(save(1, 1).committed);
    int operation = 0;
    const SaveResult broken = save(
        2, 2,
        [&](std::string_view, const std::string&) {
          if (operation++ == fail_at) throw Error(ErrorKind::kIo, "input/output error");
        },
        1);
    reached = operation > fail_at;
    failed += broken.committed ? 0 : 1;
    EXPECT_THAT(broken.why, broken.committed ? testing::Matcher<std::string>("")
                                             : HasSubstr("input/output error"));
    EXPECT_EQ(broken.warnings.size(), broken.committed && reached ? 1U : 0U);
    const int seed = loaded_seed();
    EXPECT_TRUE(broken.committed ? seed == 2 : (seed == 1 || seed == 2));
    EXPECT_TRUE(save(3, 3, {}, 1).committed);
    EXPECT_EQ(loaded_seed(), 3);
    EXPECT_THAT(result.warnings, IsEmpty());
  }
  EXPECT_GE(failed, 15);
}

// Dies just before operation `die_at`. True if the save got that far.
bool killed(const std::function<void(FileHook)>& save, int die_at) {
  constexpr int kDied = 9;
  const pid_t child = fork();
  if (child == 0) {
    int operation = 0;
    save([&](std::string_view, const std::string&) {
      if (operation++ == die_at) _exit(kDied);
    });
    _exit(0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  return WEXITSTATUS(status) == kDied;
}

TEST_F(CheckpointFault, DeathAtAnyOperationLeavesTheOldOrTheNewOne) {
  int old_found = 0, new_found = 0;
  for (int die_at = 0;; ++die_at) {
    SCOPED_TRACE(die_at);
    fs::remove_all(dir);
    ASSERT_TRUE(save(1, 1).committed);
    const bool died = killed([&](FileHook hook) { save(2, 2, hook, 1); }, die_at);
    const int seed = loaded_seed();
    EXPECT_THAT(result.warnings, IsEmpty());
    EXPECT_THAT(remove_unfinished(dir), IsEmpty());
    for (const std::string& name : names_in(dir))
      EXPECT_TRUE(step_of(name)) << name;
    EXPECT_EQ(loaded_seed(), seed);
    ++(seed == 1 ? old_found : new_found);
    if (!died) break;
  }
  EXPECT_GE(old_found, 14);  // before the rename
  EXPECT_GE(new_found, 3);   // after it: sync of the folder, two steps of pruning
}

// With and without a file system that can exchange two folders in one moment.
class CheckpointReplaced : public CheckpointFault, public testing::WithParamInterface<bool> {
 protected:
  static FileHook on_this_file_system(const FileHook& hook) {
    return [hook, exchanges = GetParam()](std::string_view operation, const std::string& path) {
      hook(operation, path);
      if (operation == "exchange" && !exchanges) throw Error(ErrorKind::kIo, "not supported");
    };
  }
};
INSTANTIATE_TEST_SUITE_P(Exchange, CheckpointReplaced, testing::Bool());

TEST_P(CheckpointReplaced, DeathAtAnyOperationLeavesOneOfThem) {
  int old_found = 0, new_found = 0;
  for (int die_at = 0;; ++die_at) {
    SCOPED_TRACE(die_at);
    fs::remove_all(dir);
    ASSERT_TRUE(save(1, 1).committed);
    const auto replace = [&](const FileHook& hook) { save(1, 2, on_this_file_system(hook), 1); };
    const bool died = killed(replace, die_at);
    const int seed = loaded_seed();
    EXPECT_THAT(result.warnings, IsEmpty());
    EXPECT_THAT(remove_unfinished(dir), IsEmpty());
    EXPECT_THAT(names_in(dir), ElementsAre("step-00000001"));
    EXPECT_EQ(loaded_seed(), seed);
    ++(seed == 1 ? old_found : new_found);
    if (!died) break;
  }
  EXPECT_EQ(loaded_seed(), 2);
  EXPECT_GE(old_found, 15);
  EXPECT_GE(new_found, 4);  // sync of the folder, two operations to delete the old one, the end
}

TEST_P(CheckpointReplaced, FailureAtAnyOperationLeavesOneOfThemAndTheNextSaveIsClean) {
  bool reached = true;
  for (int fail_at = 0; reached; ++fail_at) {
    SCOPED_TRACE(fail_at);
    fs::remove_all(dir);
    ASSERT_TRUE(save(1, 1).committed);
    int operation = 0;
    const SaveResult broken =
        save(1, 2, on_this_file_system([&](std::string_view name, const std::string&) {
               if (operation++ == fail_at && name != "exchange")
                 throw Error(ErrorKind::kIo, "input/output error");
             }),
             1);
    reached = operation > fail_at;
    const int seed = loaded_seed();
    EXPECT_TRUE(seed == 2 || !broken.committed);
    EXPECT_TRUE(save(2, 3, {}, 1).committed);
    EXPECT_EQ(loaded_seed(), 3);
    remove_unfinished(dir);
    EXPECT_THAT(names_in(dir), ElementsAre("step-00000002"));
  }
}

TEST_F(CheckpointFault, AStepIsReplacedWhereFoldersCannotBeExchanged) {
  ASSERT_TRUE(save(1, 1).committed);
  const SaveResult again = save(1, 2, [](std::string_view operation, const std::string&) {
    if (operation == "exchange") throw Error(ErrorKind::kIo, "not supported");
  });
  EXPECT_TRUE(again.committed) << again.why;
  EXPECT_EQ(loaded_seed(), 2);
  EXPECT_THAT(names_in(dir), ElementsAre("step-00000001"));
}

// The kernel refuses to let any file grow beyond the limit, as a full disk or a quota would.
TEST_F(CheckpointFault, FullDiskAbandonsTheSave) {
  ASSERT_TRUE(save(1, 1).committed);
  for (const rlim_t limit : {rlim_t{0}, rlim_t{700}, rlim_t{3000}, rlim_t{8000}}) {
    const pid_t child = fork();
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit bound = {limit, limit};
      setrlimit(RLIMIT_FSIZE, &bound);
      const SaveResult full = save(2, 2, {}, 1);
      _exit(!full.committed && full.why.find("rank-00000.h5") != std::string::npos ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << limit;
    EXPECT_THAT(names_in(dir), ElementsAre("step-00000001"));
  }
  EXPECT_EQ(loaded_seed(), 1);
}

TEST_F(CheckpointFault, FolderThatCannotBeMadeAbandonsTheSave) {
  std::ofstream(dir) << "a file where the folder should be";
  const SaveResult refused = save(1, 1);
  EXPECT_FALSE(refused.committed);
  EXPECT_THAT(refused.why, HasSubstr("mkdir: Not a directory"));
}

}  // namespace
}  // namespace gradwire
