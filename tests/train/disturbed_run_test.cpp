// A thousand steps through every reducer with error feedback, with a freeze, a step that is
// skipped, and a restart on another number of ranks: the loss ends where that of a run without
// either ends.
#include <gtest/gtest.h>

#include "parallel/replica_check.h"
#include "tests/support/temp_folder.h"
#include "tests/train/small_run.h"

namespace gradwire {
namespace {

using test::SmallConfig;
using test::SmallRun;
using test::TempFolder;

constexpr int kSkipped = 300, kRestart = 500;

// Steps [first, last] on so many ranks. The loss at the end.
double train(const SmallConfig& config, int ranks, int first, int last, int skipped,
             const TempFolder* from, const TempFolder* to) {
  double loss = 0.0;
  run_ranks(ranks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    SmallRun run(cx, comm, config);
    const auto all = make_coordinator(cx, comm);
    if (from != nullptr) {
      load_checkpoint(cx, {list_checkpoints(from->file("c")).at(0).path}, {"m"}, run.state(), *all);
    }
    for (int step = first; step <= last; ++step) {
      EXPECT_EQ(run.step(step, step == skipped), step != skipped);
      if (run.optimizer().settled()) check_replicas(cx, comm, step, run.params());
    }
    if (to != nullptr) {
      const SaveResult saved =
          save_checkpoint(cx, {to->file("c"), {"m", "r"}}, last, run.state(), *all);
      EXPECT_TRUE(saved.committed) << saved.why;
    }
    if (comm.rank() == 0) loss = run.loss();
  });
  return loss;
}

class DisturbedRun : public testing::TestWithParam<SmallConfig> {};

TEST_P(DisturbedRun, EndsWhereTheUndisturbedOneDoes) {
  const SmallConfig& config = GetParam();
  const int steps = static_cast<int>(config.steps);
  const double start = train(config, 3, 1, 0, 0, nullptr, nullptr);
  const double undisturbed = train(config, 3, 1, steps, 0, nullptr, nullptr);
  const TempFolder folder;
  train(config, 3, 1, kRestart, kSkipped, nullptr, &folder);
  const double disturbed = train(config, 2, kRestart + 1, steps, 0, &folder, nullptr);
  RecordProperty("undisturbed", std::to_string(undisturbed));
  EXPECT_NEAR(disturbed, undisturbed, 0.01);
  EXPECT_LT(undisturbed, 0.6 * start);
}

// All that make up for what they lose, under every rule.
std::vector<SmallConfig> configs() {
  std::vector<SmallConfig> all = test::small_configs();
  std::erase_if(all, [](const SmallConfig& c) { return c.method == "plain"; });
  return all;
}

INSTANTIATE_TEST_SUITE_P(Reducers, DisturbedRun, testing::ValuesIn(configs()),
                         [](const auto& of) { return of.param.name; });

}  // namespace
}  // namespace gradwire
