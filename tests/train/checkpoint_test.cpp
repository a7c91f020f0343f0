#include "train/checkpoint/checkpoint.h"

#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "tests/data/temp_folder.h"
#include "tests/train/checkpoint_run.h"

namespace gradwire {
namespace {

using test::SmallRun;
using test::ThreadRanks;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_data::TempFolder;

class CheckpointTest : public testing::Test {
 protected:
  SaveOptions options(std::int64_t keep_last = 0) const {
    return {.dir = dir, .run = {.model = "tiny", .recipe = "r1"}, .keep_last = keep_last};
  }
  SaveResult save(std::int64_t step, SmallRun& run, std::int64_t keep_last = 0) {
    return save_checkpoint(run.cx, options(keep_last), step, run.state(), one);
  }
  LoadResult load(SmallRun& run) {
    return load_checkpoint(run.cx, paths_of(list_checkpoints(dir)), {.model = "tiny"}, run.state(),
                           one);
  }
  std::string why_not(SmallRun& run, const LoadOptions& load_options = {.model = "tiny"}) {
    const auto before = run.bytes();
    try {
      load_checkpoint(run.cx, paths_of(list_checkpoints(dir)), load_options, run.state(), one);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kCheckpoint);
      EXPECT_EQ(run.bytes(), before) << "a refused checkpoint changed the state";
      return e.what();
    }
    return "loaded";
  }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> all;
    for (const CheckpointPlace& place : list_checkpoints(dir))
      all.push_back(place.step);
    return all;
  }

  TempFolder folder;
  std::string dir = folder.file("checkpoints");
  SingleRank one;
};

TEST_F(CheckpointTest, EveryKindOfStateComesBackBitForBit) {
  SmallRun saved(7), loaded(2);
  const SaveResult result = save(1200, saved);
  ASSERT_TRUE(result.committed) << result.why;
  EXPECT_THAT(result.path, testing::EndsWith("/step-00001200"));
  EXPECT_THAT(names_in(dir), ElementsAre("step-00001200"));
  EXPECT_THAT(names_in(result.path), ElementsAre("manifest.json", "rank-00000.h5"));
  EXPECT_EQ(result.bytes, digest_file(result.path + "/manifest.json").bytes +
                              digest_file(result.path + "/rank-00000.h5").bytes);

  const LoadResult back = load(loaded);
  EXPECT_EQ(back.step, 1200);
  EXPECT_EQ(back.path, result.path);
  EXPECT_EQ(back.recipe, "r1");
  EXPECT_THAT(back.warnings, IsEmpty());
  EXPECT_EQ(loaded.bytes(), saved.bytes());
  EXPECT_EQ(loaded.wte.version, 1);
  const CheckpointReport report = verify_checkpoint(result.path);
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_EQ(report.step, 1200);
  EXPECT_EQ(report.pieces, 9);
  EXPECT_EQ(report.bytes + digest_file(result.path + "/manifest.json").bytes, result.bytes);
}

TEST_F(CheckpointTest, AnotherProcessFindsTheSameBits) {
  const pid_t child = fork();
  if (child == 0) {
    SmallRun run(5);
    _exit(save(3, run).committed ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  SmallRun loaded(1), expected(5);
  EXPECT_EQ(load(loaded).step, 3);
  EXPECT_EQ(loaded.bytes(), expected.bytes());
}

TEST_F(CheckpointTest, KeepsTheLastOnes) {
  SmallRun run(1);
  for (const std::int64_t step : {10, 20, 30, 40}) {
    EXPECT_THAT(save(step, run, 2).warnings, IsEmpty());
  }
  EXPECT_THAT(steps(), ElementsAre(40, 30));
  for (const std::int64_t step : {50, 60})
    save(step, run, 0);
  EXPECT_THAT(steps(), ElementsAre(60, 50, 40, 30));
  EXPECT_EQ(names_in(dir).size(), 4U);
}

// A run that fell back from a damaged checkpoint saves an earlier step: what it wrote is the newest
// good one, and later numbers must not push it out.
TEST_F(CheckpointTest, KeepingTheLastNeverDeletesTheOneJustSaved) {
  SmallRun run(1);
  for (const std::int64_t step : {10, 20, 30})
    save(step, run);
  save(15, run, 1);
  EXPECT_THAT(steps(), ElementsAre(30, 20, 15));
}

TEST_F(CheckpointTest, SavingAStepAgainReplacesIt) {
  SmallRun first(1), second(2), loaded(3);
  save(5, first);
  const SaveResult again = save(5, second);
  EXPECT_TRUE(again.committed) << again.why;
  EXPECT_THAT(names_in(dir), ElementsAre("step-00000005"));
  load(loaded);
  EXPECT_EQ(loaded.bytes(), second.bytes());
}

TEST_F(CheckpointTest, LeftoversAreRemovedAndNothingElse) {
  SmallRun run(1);
  save(5, run);
  for (const char* name : {"step-00000006.tmp-1f-2", ".trash-step-00000004-77",
                           "step-00000005.replaced-h-1-2", "notes.tmp-1", "step-7", "resolved"}) {
    std::filesystem::create_directory(dir + "/" + name);
    std::ofstream(dir + "/" + name + "/rank-00000.h5") << "half";
  }
  EXPECT_THAT(remove_unfinished(dir), IsEmpty());
  EXPECT_THAT(names_in(dir), ElementsAre("notes.tmp-1", "resolved", "step-00000005", "step-7"));
  EXPECT_THAT(steps(), ElementsAre(5));
  std::filesystem::rename(dir + "/step-00000005", dir + "/step-00000005.replaced-h-3-4");
  EXPECT_THAT(steps(), ElementsAre(5));
  EXPECT_THAT(remove_unfinished(dir), IsEmpty());
  EXPECT_THAT(names_in(dir), ElementsAre("notes.tmp-1", "resolved", "step-00000005", "step-7"));
  EXPECT_THAT(remove_unfinished(dir + "/absent"), IsEmpty());
  EXPECT_THAT(list_checkpoints(dir + "/absent"), IsEmpty());
}

TEST_F(CheckpointTest, NoneAtAllIsAnError) {
  SmallRun run(1);
  EXPECT_EQ(why_not(run), "no checkpoint to load");
}

TEST_F(CheckpointTest, AllMissingExtraAndMisshapenNamesAreListed) {
  SmallRun saved(1), other(2);
  save(5, saved);
  other.wte.value = Tensor::zeros(other.cx, {33, 9}, DType::kF32);
  other.bias.name = "blocks.1.bias";
  other.with_residual = false;
  const std::string why = why_not(other);
  EXPECT_THAT(why, HasSubstr("step-00000005"));
  EXPECT_THAT(why, HasSubstr("param/wte.weight: saved as tensor f32 [33, 8], wanted as tensor f32 "
                             "[33, 9]"));
  EXPECT_THAT(why, HasSubstr("missing: param/blocks.1.bias"));
  EXPECT_THAT(why, HasSubstr("not of this run: param/blocks.0.bias, reducer/clock, "
                             "reducer/residual"));
}

TEST_F(CheckpointTest, AnotherModelIsRefused) {
  SmallRun saved(1), loaded(2);
  save(5, saved);
  EXPECT_THAT(why_not(loaded, {.model = "large"}),
              HasSubstr("of another model: it says 'tiny', this run is 'large'"));
}

TEST_F(CheckpointTest, TwoPiecesOfOneNameAreABug) {
  SmallRun run(1);
  run.bias.name = run.wte.name;
  EXPECT_THROW(save(1, run), Error);
}

// Saves on `n` ranks; the per-rank values of rank r come from SmallRun(seed, r).
void save_on_ranks(int n, const SaveOptions& options, int seed) {
  ThreadRanks::run(n, [&](Coordinator& ranks) {
    SmallRun run(seed, ranks.rank());
    const SaveResult result = save_checkpoint(run.cx, options, seed, run.state(), ranks);
    EXPECT_TRUE(result.committed) << result.why;
    EXPECT_GT(result.bytes, 0U);
  });
}

class CheckpointRanks : public CheckpointTest, public testing::WithParamInterface<int> {};
INSTANTIATE_TEST_SUITE_P(Sizes, CheckpointRanks, testing::Values(1, 2, 3, 4, 7));

TEST_P(CheckpointRanks, EachGetsItsOwnStateAndTheCommonOne) {
  save_on_ranks(GetParam(), options(), 4);
  EXPECT_EQ(names_in(dir + "/step-00000004").size(), static_cast<std::size_t>(GetParam()) + 1);
  EXPECT_THAT(verify_checkpoint(dir + "/step-00000004").problems, IsEmpty());
  ThreadRanks::run(GetParam(), [&](Coordinator& ranks) {
    SmallRun loaded(9), expected(4, ranks.rank());
    // Rank 0's list counts: the others may see another, on a file system that lags behind.
    std::vector<std::string> paths;
    if (ranks.rank() == 0) paths = paths_of(list_checkpoints(dir));
    load_checkpoint(loaded.cx, paths, {.model = "tiny"}, loaded.state(), ranks);
    EXPECT_EQ(loaded.bytes(), expected.bytes());
  });
}

TEST_P(CheckpointRanks, OneRankFailingAbandonsTheSaveOnAll) {
  const int failing = GetParam() - 1;
  save_on_ranks(GetParam(), options(), 1);
  ThreadRanks::run(GetParam(), [&](Coordinator& ranks) {
    SmallRun run(2, ranks.rank());
    SaveOptions broken = options(1);
    if (ranks.rank() == failing) {
      broken.before_file_operation = [](std::string_view operation, const std::string&) {
        if (operation == "close") throw Error(ErrorKind::kIo, "no space left on device");
      };
    }
    const SaveResult result = save_checkpoint(run.cx, broken, 2, run.state(), ranks);
    EXPECT_FALSE(result.committed);
    const std::string who = ranks.size() > 1 ? "rank " + std::to_string(failing) + ": " : "";
    EXPECT_THAT(result.why, HasSubstr(who + "no space left"));
    EXPECT_EQ(result.path, "");
  });
  EXPECT_THAT(names_in(dir), ElementsAre("step-00000001"));
  save_on_ranks(GetParam(), options(1), 3);
  EXPECT_THAT(names_in(dir), ElementsAre("step-00000003"));
}

TEST_F(CheckpointTest, AnotherNumberOfRanksNeedsARuleForPerRankState) {
  save_on_ranks(3, options(), 4);
  SmallRun loaded(1);
  EXPECT_THAT(why_not(loaded), HasSubstr("saved by 3 ranks, loaded by 1, and no rule for "
                                         "reducer/residual, reducer/clock"));
  const ResizeRule clock_of_last = [](std::string_view name, int saved) -> std::optional<int> {
    if (name == "reducer/clock") return saved - 1;
    return std::nullopt;
  };
  load_checkpoint(loaded.cx, paths_of(list_checkpoints(dir)),
                  {.model = "tiny", .resize = clock_of_last}, loaded.state(), one);
  SmallRun expected(4, 2);
  EXPECT_EQ(loaded.clock, expected.clock);
  EXPECT_EQ(loaded.residual.to_host<double>(loaded.cx), (std::vector<double>(5, 1.0)));
  EXPECT_EQ(loaded.wte.value.to_host<float>(loaded.cx),
            expected.wte.value.to_host<float>(expected.cx));
}

TEST_F(CheckpointTest, WithoutPerRankStateAnyNumberOfRanksLoads) {
  ThreadRanks::run(2, [&](Coordinator& ranks) {
    SmallRun run(6);
    run.with_residual = false;
    EXPECT_TRUE(save_checkpoint(run.cx, options(), 1, run.state(), ranks).committed);
  });
  ThreadRanks::run(5, [&](Coordinator& ranks) {
    SmallRun run(1), expected(6);
    run.with_residual = expected.with_residual = false;
    load_checkpoint(run.cx, paths_of(list_checkpoints(dir)), {.model = "tiny"}, run.state(), ranks);
    EXPECT_EQ(run.bytes(), expected.bytes());
  });
}

}  // namespace
}  // namespace gradwire
