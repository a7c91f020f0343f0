// The best checkpoint by a metric: saved at once, kept beside the newest, known after any end.
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "tests/data/temp_folder.h"
#include "tests/support/expect_error.h"
#include "tests/train/checkpoint_run.h"
#include "train/checkpoint/checkpointing.h"
#include "train/checkpoint/manifest.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;
using test::SmallRun;
using test::ThreadRanks;
using testing::ElementsAre;

struct Evaluated {
  std::int64_t step;
  double value;
};

class BestCheckpointTest : public testing::Test {
 protected:
  CheckpointPolicy policy(FileHook hook = {}) const {
    CheckpointPolicy p;
    p.dir = dir;
    p.keep = 2;
    p.run = {"tiny", "recipe"};
    p.last_step = 1000;
    p.before_file_operation = std::move(hook);
    if (!metric.name.empty()) p.best = metric;
    return p;
  }
  static std::vector<Sum> sums(double value) { return {{"other", 1.0, 1.0}, {"wer", value, 1.0}}; }
  // One process, which goes on from what is there; gives which of these it thought the best so far.
  std::vector<bool> run(const std::vector<Evaluated>& evaluations) {
    SmallRun state(1);
    Checkpointing checkpoints(one, policy());
    checkpoints.track(state.state());
    checkpoints.resume(state.cx, "auto");
    checkpoints.begin();
    std::vector<bool> best;
    for (const Evaluated& e : evaluations) {
      best.push_back(checkpoints.is_best(sums(e.value)));
      EXPECT_TRUE(checkpoints.save(state.cx, e.step, sums(e.value)).committed);
    }
    return best;
  }
  std::vector<std::int64_t> steps() const {
    std::vector<std::int64_t> all;
    for (const CheckpointPlace& place : list_checkpoints(dir))
      all.push_back(place.step);
    return all;
  }
  std::int64_t best_step() const {
    const auto best = best_checkpoint(dir);
    return best ? best->step : -1;
  }

  testing_data::TempFolder folder;
  std::string dir = folder.file("run/checkpoints");
  Metric metric{.name = "wer"};
  SingleRank one;
};

TEST_F(BestCheckpointTest, SurvivesTheNewestAndGivesWay) {
  EXPECT_THAT(run({{1, 0.5}, {2, 0.3}, {3, 0.4}, {4, 0.35}, {5, 0.31}}),
              ElementsAre(true, true, false, false, false));
  EXPECT_THAT(steps(), ElementsAre(5, 4, 2));
  EXPECT_EQ(best_step(), 2);
  // A run that goes on knows it.
  EXPECT_THAT(run({{6, 0.3}, {7, 0.2}, {8, 0.9}, {9, 0.9}}),
              ElementsAre(false, true, false, false));
  EXPECT_THAT(steps(), ElementsAre(9, 8, 7));
  EXPECT_EQ(best_step(), 7);
  EXPECT_EQ(read_manifest(dir + "/step-00000008").score,
            (CheckpointScore{"wer", 0.9, /*lower_is_better=*/true}));
}

TEST_F(BestCheckpointTest, DirectionIsTheMetrics) {
  metric.lower_is_better = false;
  EXPECT_THAT(run({{1, 0.5}, {2, 0.3}, {3, 0.6}}), ElementsAre(true, false, true));
  EXPECT_EQ(best_step(), 3);
}

TEST_F(BestCheckpointTest, WhatIsNotFiniteIsNeverBest) {
  EXPECT_THAT(run({{1, std::nan("")}, {2, 0.3}, {3, -INFINITY}}), ElementsAre(false, true, false));
  EXPECT_EQ(best_step(), 2);
}

TEST_F(BestCheckpointTest, WithoutAMetricNothingIsKept) {
  metric.name.clear();
  EXPECT_THAT(run({{1, 0.1}, {2, 0.3}, {3, 0.4}}), ElementsAre(false, false, false));
  EXPECT_THAT(steps(), ElementsAre(3, 2));
  EXPECT_EQ(best_step(), -1);
  EXPECT_EQ(read_manifest(dir + "/step-00000003").score, std::nullopt);
}

// Scores by another metric are no match.
TEST_F(BestCheckpointTest, AnotherMetricBeginsAnew) {
  run({{1, 0.1}, {2, 0.3}});
  metric.name = "other";
  EXPECT_THAT(run({{3, 0.4}}), ElementsAre(true));
  EXPECT_EQ(best_checkpoint(dir, "other")->step, 3);
  EXPECT_EQ(best_checkpoint(dir, "wer")->step, 2);  // the other is no longer kept
}

TEST_F(BestCheckpointTest, IsNamedByAPath) {
  run({{1, 0.1}, {2, 0.3}, {3, 0.2}});
  EXPECT_THAT(checkpoints_at(folder.file("run/best")), ElementsAre(dir + "/step-00000001"));
  EXPECT_THAT(checkpoints_at(dir + "/best"), ElementsAre(dir + "/step-00000001"));
  test::expect_error(ErrorKind::kCheckpoint, "checkpoint.best was not set",
                     [&] { checkpoints_at(folder.file("elsewhere/best")); });
}

// Later steps go aside; given again, the start goes on with what it has led to.
TEST_F(BestCheckpointTest, ARunGoesBackToIt) {
  run({{1, 0.3}, {2, 0.1}, {3, 0.2}, {4, 0.4}});
  const auto resume = [&](const std::string& from, std::vector<Evaluated> then) {
    SmallRun state(1);
    Checkpointing checkpoints(one, policy());
    checkpoints.track(state.state());
    const std::int64_t step = checkpoints.resume(state.cx, from)->step;
    checkpoints.begin();
    for (const Evaluated& e : then)
      EXPECT_TRUE(checkpoints.save(state.cx, e.step, sums(e.value)).committed);
    return step;
  };
  EXPECT_EQ(resume("best", {}), 2);
  EXPECT_THAT(steps(), ElementsAre(2));
  EXPECT_EQ(resume("best", {{3, 0.2}, {4, 0.05}, {5, 0.3}}), 2);
  EXPECT_EQ(best_step(), 4);
  EXPECT_EQ(resume("best", {{6, 0.3}}), 5);
  EXPECT_EQ(resume("auto", {{7, 0.3}}), 6);
  EXPECT_EQ(resume(dir + "/best", {}), 7);  // another way to write it
}

TEST_F(BestCheckpointTest, ARunDoesNotGoBackToWhatIsNot) {
  SmallRun state(1);
  Checkpointing checkpoints(one, policy());
  checkpoints.track(state.state());
  test::expect_error(ErrorKind::kCheckpoint, "checkpoint.best was not set",
                     [&] { checkpoints.resume(state.cx, "best"); });
}

// A checkpoint whose manifest is damaged is no best one, and is no error either.
TEST_F(BestCheckpointTest, OfADamagedOneTheNextBestIsTheBest) {
  run({{1, 0.1}, {2, 0.3}});
  fs::resize_file(dir + "/step-00000001/manifest.json", 10);
  EXPECT_EQ(best_step(), 2);
  EXPECT_THAT(run({{3, 0.2}}), ElementsAre(true));
}

// Dies before every file operation of saving a better one, in turn. Whatever is left, the best that
// is known is a whole checkpoint, it is the old one or the new one, and a start goes on from there.
TEST_F(BestCheckpointTest, AKillAtAnyMomentLeavesOneThatIsWhole) {
  bool finished = false;
  for (int at = 0; !finished; ++at) {
    SCOPED_TRACE(at);
    fs::remove_all(dir);
    run({{1, 0.2}, {2, 0.5}, {3, 0.6}});
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      SmallRun state(1);
      int operation = 0;
      bool armed = false;
      Checkpointing checkpoints(one, policy([&](std::string_view, const std::string&) {
                                  if (armed && operation++ == at) _exit(9);
                                }));
      checkpoints.track(state.state());
      checkpoints.resume(state.cx, "auto");
      checkpoints.begin();
      armed = true;
      checkpoints.save(state.cx, 4, sums(0.1));
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    finished = WEXITSTATUS(status) == 0;
    const auto best = best_checkpoint(dir);
    ASSERT_TRUE(best);
    EXPECT_EQ(best->score.value, best->step == 4 ? 0.1 : 0.2);
    EXPECT_TRUE(best->step == 4 || (best->step == 1 && !finished));
    EXPECT_THAT(verify_checkpoint(best->path).problems, testing::IsEmpty());
    EXPECT_THAT(run({{5, 0.15}}), ElementsAre(best->step == 1));
    ASSERT_LT(at, 1000);
  }
}

TEST_F(BestCheckpointTest, EveryRankDecidesAlike) {
  const auto process = [&](const std::vector<Evaluated>& evaluations) {
    ThreadRanks::run(3, [&](Coordinator& ranks) {
      SmallRun state(1, ranks.rank());
      Checkpointing checkpoints(ranks, policy());
      checkpoints.track(state.state());
      checkpoints.resume(state.cx, "auto");
      checkpoints.begin();
      EXPECT_EQ(checkpoints.best().has_value(), !steps().empty());
      for (const Evaluated& e : evaluations)
        EXPECT_TRUE(checkpoints.save(state.cx, e.step, sums(e.value)).committed);
      EXPECT_EQ(checkpoints.best()->step, 2);
    });
  };
  process({{1, 0.5}, {2, 1.0 / 3.0}, {3, 0.4}, {4, 0.35}});
  process({{5, 1.0 / 3.0}});
  EXPECT_THAT(steps(), ElementsAre(5, 4, 2));
}

}  // namespace
}  // namespace gradwire
