// What a trainer takes from a task other than a language model: weights of a step, counters of its
// own, metrics that no loss gives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "optim/sgd.h"
#include "tests/data/temp_folder.h"
#include "tests/support/expect_error.h"
#include "tests/train/square_task.h"
#include "train/evaluation.h"
#include "train/trainer.h"

namespace gradwire {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kRanks = 2;

struct Log {
  std::vector<StepMetrics> steps;
  std::vector<std::int64_t> saves;
  std::vector<EvaluationMetrics> evaluations;
  std::vector<std::string> warnings, notes;
};

class LogSink final : public MetricsSink {
 public:
  explicit LogSink(Log& log) : log_(log) {}
  void started(std::int64_t) override {}
  void step(const StepMetrics& m) override { log_.steps.push_back(m); }
  void evaluation(const EvaluationMetrics& m) override { log_.evaluations.push_back(m); }
  void checkpoint(const CheckpointMetrics& m) override { log_.saves.push_back(m.step); }
  void warning(std::string_view text) override { log_.warnings.emplace_back(text); }
  void note(std::string_view text) override { log_.notes.emplace_back(text); }

 private:
  Log& log_;
};

// Steps 2 and 3 have nothing to learn from; rank 1 never has.
class Transcriber final : public test::SquareTask {
 public:
  Transcriber(Context& cx, int rank) : SquareTask(cx), rank_(rank) {}
  StageModel& next_step() override {
    ++step_;
    return *this;
  }
  double weight(int) const override { return rank_ == 0 && step_ != 2 && step_ != 3 ? 5.0 : 0.0; }
  Counters counters() const override {
    return {{"frames", "frames", 100.0}, {"audio_seconds", "s audio", 1.0 + rank_}};
  }
  std::vector<Metric> metrics() const override {
    return {{.name = "wer.es", .decimals = 3},
            {.name = "wer.ja"},
            {.name = "accuracy", .lower_is_better = false}};
  }
  std::vector<Sum> evaluate(Context& cx, Pipeline&, Communicator& world,
                            std::int64_t max_batches) override {
    EXPECT_EQ(max_batches, 7);
    ++evaluations_;
    return sum_over_ranks(cx, world,
                          {{"wer.es", 1.0 + rank_, 10.0},
                           {"wer.ja", 0.0, 0.0},
                           {"chars", 1.0, 1.0},
                           {"accuracy", evaluations_ == 2 ? 0.9 : 0.5, 1.0}});
  }

 private:
  int rank_;
  int step_ = 0;
  int evaluations_ = 0;
};

struct Trained {
  Log log;
  std::vector<std::vector<float>> weights{kRanks};
};

Trained train(int steps, std::int64_t eval_every = 0, const std::string& best = "") {
  const testing_data::TempFolder folder;
  Trained all;
  run_ranks(kRanks, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Transcriber task(cx, comm.rank());
    const std::vector<Parameter*> params = task.trained();
    DataParallel group(cx, comm, make_dense_reducer(comm), params);
    const auto optimizer = make_sgd(cx, params, {.momentum = 0.9});
    const auto coordinator = make_coordinator(cx, comm);
    CheckpointPolicy policy{.dir = folder.file("checkpoints"), .run = {"m", "r"}};
    if (!best.empty()) policy.best = metric_named(task.metrics(), best);
    Checkpointing checkpoints(*coordinator, policy);
    Reporter report;
    if (comm.rank() == 0) report.add(std::make_unique<LogSink>(all.log));
    const auto alone = make_local_world(1);
    Pipeline pipeline(*alone[0], with_messages(one_f_one_b(1, 1)));
    TrainOptions options;
    options.steps = steps;
    options.eval_every = eval_every;
    options.eval_batches = 7;
    options.max_nonfinite = 1;
    options.update.clip_norm = 0.0;
    options.update.dense_steps = -1;
    Trainer trainer(options, {comm, pipeline, task, *optimizer, group, checkpoints, report,
                              ScheduleConfig{.peak_lr = 10.0, .total_steps = 100}, nullptr});
    checkpoints.track({params, {optimizer.get(), &group, &trainer}});
    trainer.run(cx);
    all.weights[static_cast<std::size_t>(comm.rank())] = params[0]->value.to_host<float>(cx);
  });
  return all;
}

TEST(TrainerTask, AStepWithoutWeightIsSkippedAndNoError) {
  const Trained one = train(1), three = train(3), four = train(4);
  EXPECT_EQ(one.weights[0], one.weights[1]);
  EXPECT_EQ(three.weights[0], one.weights[0]);  // steps 2 and 3 leave no trace, in momenta neither
  EXPECT_NE(four.weights[0], one.weights[0]);
  ASSERT_EQ(four.log.steps.size(), 4U);
  EXPECT_TRUE(std::isnan(four.log.steps[1].loss));
  EXPECT_EQ(four.log.steps[3].nonfinite_steps, 0);
  EXPECT_THAT(four.log.warnings, testing::IsEmpty());
  EXPECT_THAT(four.log.notes,
              ElementsAre(HasSubstr("step 2 skipped on all ranks: no micro-batch")));
}

// The rank without data counts for nothing in the mean.
TEST(TrainerTask, LossAndGradientAreWeightedOverRanks) {
  const Trained got = train(1);
  Runtime runtime;
  Context& cx = runtime.context();
  test::SquareTask alone(cx);
  const Parameter& w = *alone.trained()[0];
  const std::vector<float> before = w.value.to_host<float>(cx);
  const double n = static_cast<double>(before.size());
  double loss = 0.0;
  for (const float x : before)
    loss += static_cast<double>(x) * static_cast<double>(x) / n;
  EXPECT_NEAR(got.log.steps[0].loss, loss, 1e-5);
  const double lr = got.log.steps[0].lr;
  for (std::size_t i = 0; i < 100; ++i) {
    const double x = static_cast<double>(before[i]);
    ASSERT_NEAR(static_cast<double>(got.weights[0][i]), x - lr * 2.0 * x / n, 1e-6);
  }
}

TEST(TrainerTask, SpeedIsInTheCountersOfAllRanks) {
  const StepMetrics m = train(1).log.steps.at(0);
  ASSERT_EQ(m.speed.size(), 2U);
  EXPECT_EQ(m.speed[0].name, "frames");
  EXPECT_NEAR(m.speed[0].per_s * m.step_s, 200.0, 1e-6);
  EXPECT_EQ(m.speed[1].unit, "s audio");
  EXPECT_NEAR(m.speed[1].per_s * m.step_s, 3.0, 1e-9);
}

TEST(TrainerTask, MetricsAreSumsOverRanksByName) {
  const Log log = train(1).log;
  ASSERT_EQ(log.evaluations.size(), 1U);
  const std::vector<NamedValue>& values = log.evaluations[0].values;
  ASSERT_EQ(values.size(), 3U);  // what there is nothing to divide by is left out
  EXPECT_EQ(values[0].name, "wer.es");
  EXPECT_DOUBLE_EQ(values[0].value, 3.0 / 20.0);
  EXPECT_EQ(values[0].decimals, 3);
  EXPECT_EQ(values[1].name, "chars");
  EXPECT_EQ(values[1].value, 1.0);
}

// The second evaluation of four is the best, at a step at which no checkpoint is due.
TEST(TrainerTask, TheBestEvaluationSavesACheckpoint) {
  const Log log = train(8, 2, "accuracy").log;
  EXPECT_THAT(log.saves, ElementsAre(2, 4, 8));
  EXPECT_THAT(log.notes, testing::Contains(HasSubstr("step 4: the best accuracy so far, 0.9")));
  EXPECT_THAT(train(8, 2).log.saves, ElementsAre(8));
}

// Its gradient would be computed for nothing.
TEST(TrainerTask, WhatIsTrainableIsTrained) {
  class Forgetful final : public test::SquareTask {
   public:
    explicit Forgetful(Context& cx) : SquareTask(cx) {}
    ParameterSet trained() override { return {}; }
  };
  Runtime runtime;
  Context& cx = runtime.context();
  Forgetful task(cx);
  const auto comm = make_local_world(1);
  DataParallel group(cx, *comm[0], make_dense_reducer(*comm[0]), task.trained());
  const auto optimizer = make_sgd(cx, task.trained(), {});
  SingleRank one;
  Checkpointing checkpoints(one, {});
  Reporter report;
  Pipeline pipeline(*comm[0], with_messages(one_f_one_b(1, 1)));
  test::expect_error(ErrorKind::kUsage, "parameter 'w' is trainable, but its task", [&] {
    Trainer({}, {*comm[0], pipeline, task, *optimizer, group, checkpoints, report, {}, nullptr});
  });
}

TEST(Measure, AMetricThatIsNotThereIsNamedWithThoseThatAre) {
  const Metric metrics[] = {{.name = "loss"}, {.name = "wer.es"}};
  EXPECT_EQ(metric_named(metrics, "wer.es").name, "wer.es");
  test::expect_error(ErrorKind::kConfig, "no metric 'wer': there is loss, wer.es",
                     [&] { metric_named(metrics, "wer"); });
}

TEST(Measure, DerivedValuesFollowTheirMetric) {
  const Metric loss{
      .name = "loss", .derived_name = "twice", .derived = [](double x) { return 2.0 * x; }};
  const Sum sum{"loss", 6.0, 4.0};
  const std::vector<NamedValue> values = shown({&loss, 1}, {&sum, 1});
  ASSERT_EQ(values.size(), 2U);
  EXPECT_EQ(values[1].name, "twice");
  EXPECT_EQ(values[1].value, 3.0);
  EXPECT_EQ(values[1].decimals, 2);
  EXPECT_EQ(value_of({&sum, 1}, "loss"), 1.5);
  EXPECT_EQ(value_of({&sum, 1}, "wer"), std::nullopt);
}

}  // namespace
}  // namespace gradwire
