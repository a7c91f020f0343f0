// What a trainer does for replicas to be such: all begin with the weights of rank 0, and are
// compared from time to time.
#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"
#include "core/error.h"
#include "optim/adamw.h"
#include "optim/zero_one_adam.h"
#include "tests/data/temp_folder.h"
#include "tests/train/square_task.h"
#include "train/trainer.h"

namespace gradwire {
namespace {

constexpr int kRanks = 3;
using Change = std::function<void(Context&, int rank, std::vector<Parameter*> params)>;

struct Options {
  Change at_start = [](Context&, int, std::vector<Parameter*>) {};
  Change after_step_3 = [](Context&, int, std::vector<Parameter*>) {};
  std::int64_t check_every = 0;
  bool local_steps = false;  // replicas part between agreements
};

// The trained weights of each rank, or what the trainer threw there.
struct Outcome3 {
  std::vector<std::vector<float>> weights{kRanks};
  std::vector<std::string> errors{kRanks};
};

struct AfterStep3 final : StepObserver {
  explicit AfterStep3(std::function<void()> work) : work_(std::move(work)) {}
  void step_begins(std::int64_t step) override {
    if (step == 4) work_();
  }
  void action_begins(const Action&) override {}
  void part_begins(StepPart) override {}
  void step_ends(std::span<const TimelineEvent>) override {}

 private:
  std::function<void()> work_;
};

std::unique_ptr<Optimizer> make_optimizer(Context& cx, const Options& o, const DataParallel& group,
                                          std::span<Parameter* const> params) {
  if (!o.local_steps) return make_adamw(cx, params, {});
  ZeroOneAdamConfig config;
  config.var_freeze_step = 2;
  config.local_step_start = 2;
  config.local_step_scaler = 1;
  config.local_step_clipper = 4;
  return make_zero_one_adam(cx, group.buckets().all(), config);
}

Outcome3 train(const Options& o) {
  const testing_data::TempFolder folder;
  Outcome3 all;
  run_ranks(kRanks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    test::SquareTask task(cx);
    const std::vector<Parameter*> params = task.trained();
    DataParallel group(cx, comm, make_dense_reducer(comm), params, {.frozen = frozen_in(task)});
    group.compress_with(make_compressed_reducer(cx, comm, group.buckets().all(), {}));
    const auto optimizer = make_optimizer(cx, o, group, params);
    const auto coordinator = make_coordinator(cx, comm);
    Checkpointing checkpoints(*coordinator, {.dir = folder.file("checkpoints"), .run = {"m", "r"}});
    Reporter report;
    const auto alone = make_local_world(1);
    Pipeline pipeline(*alone[0], with_messages(one_f_one_b(1, 1)));
    AfterStep3 later([&] { o.after_step_3(cx, comm.rank(), task.parameters()); });
    TrainOptions options;
    options.steps = 8;
    options.seed = 3;
    options.update.dense_steps = -1;
    options.replica_check_every = o.check_every;
    Trainer trainer(options, {comm,
                              pipeline,
                              task,
                              *optimizer,
                              group,
                              checkpoints,
                              report,
                              ScheduleConfig{.peak_lr = 1e-2, .total_steps = 8},
                              nullptr,
                              nullptr,
                              {&later}});
    checkpoints.track({params, {optimizer.get(), &group, &trainer}});
    o.at_start(cx, comm.rank(), task.parameters());
    const auto at = static_cast<std::size_t>(comm.rank());
    try {
      trainer.run(cx);
      all.weights[at] = params[0]->value.to_host<float>(cx);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kNumeric) << e.what();
      all.errors[at] = e.what();
    }
  });
  return all;
}

TEST(TrainerReplicas, BeginWithTheWeightsOfRankZero) {
  const Outcome3 alike = train({});
  const Outcome3 apart = train({.at_start = [](Context& cx, int rank, auto params) {
    if (rank > 0) fill(cx, params[0]->value, 7.0 + rank);
  }});
  EXPECT_THAT(apart.errors, testing::Each(""));
  for (const std::vector<float>& weights : apart.weights)
    EXPECT_EQ(weights, alike.weights[0]);
}

TEST(TrainerReplicas, FrozenWeightsThatDifferAreRefusedBeforeStep1) {
  const Outcome3 all = train({.at_start = [](Context& cx, int rank, auto params) {
    if (rank == 2) fill(cx, params[1]->value, 7.0);
  }});
  EXPECT_THAT(
      all.errors,
      testing::Each("replicas differ before step 1: rank 2 holds other parameters than rank "
                    "0 and most others, 'frozen' first of all"));
}

TEST(TrainerReplicas, FrozenAndTrainedWeightsThatPartAreFound) {
  for (const std::size_t which : {0, 1}) {
    const Outcome3 all = train({.after_step_3 =
                                    [&](Context& cx, int rank, auto params) {
                                      if (rank == 1) fill(cx, params[which]->value, 7.0);
                                    },
                                .check_every = 5});
    EXPECT_THAT(all.errors, testing::Each(testing::HasSubstr("after step 5: rank 1 holds")));
  }
}

TEST(TrainerReplicas, ComparingThemChangesNothingThatIsTrained) {
  const Outcome3 seldom = train({.local_steps = true});
  const Outcome3 always = train({.check_every = 1, .local_steps = true});
  EXPECT_THAT(always.errors, testing::Each(""));
  EXPECT_EQ(always.weights, seldom.weights);
}

}  // namespace
}  // namespace gradwire
