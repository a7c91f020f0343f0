// A whole trainer on ranks as threads decides by itself whether to compress: bytes on the ledger
// and lines in the log. The networks are what the injected probe says they are, so that no timing
// decides: one that costs nothing, and one so slow that no computing is long beside it.
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "comm/reducer/compressed_reducer.h"
#include "optim/adamw.h"
#include "optim/onebit_adam.h"
#include "tests/data/temp_folder.h"
#include "tests/train/square_task.h"
#include "train/trainer.h"

namespace gradwire {
namespace {

using test::SquareTask;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

constexpr std::int64_t kSteps = 12;

struct Log {
  std::vector<StepMetrics> steps;
  std::vector<std::string> notes;
};

class LogSink final : public MetricsSink {
 public:
  explicit LogSink(Log& log) : log_(log) {}
  void started(std::int64_t) override {}
  void step(const StepMetrics& m) override { log_.steps.push_back(m); }
  void evaluation(const EvaluationMetrics&) override {}
  void checkpoint(const CheckpointMetrics&) override {}
  void warning(std::string_view text) override { ADD_FAILURE() << text; }
  void note(std::string_view text) override { log_.notes.emplace_back(text); }

 private:
  Log& log_;
};

struct Case {
  bool onebit = false;
  ExchangeForecast network;
};

std::unique_ptr<Optimizer> make_optimizer(Context& cx, const Case& c, const DataParallel& group,
                                          std::span<Parameter* const> params) {
  if (!c.onebit) return make_adamw(cx, params, {});
  return make_onebit_adam(cx, group.buckets().all(), {.freeze = {.freeze_step = 6}});
}

// Two ranks train; what rank 0 logs.
Log train(const Case& c) {
  const testing_data::TempFolder folder;
  Log log;
  run_ranks(2, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    SquareTask task(cx);
    const std::vector<Parameter*> params = task.trained();
    DataParallel group(cx, comm, make_dense_reducer(comm), params);
    group.compress_with(make_compressed_reducer(cx, comm, group.buckets().all(), {}));
    const auto optimizer = make_optimizer(cx, c, group, params);
    const auto coordinator = make_coordinator(cx, comm);
    Checkpointing checkpoints(*coordinator, {.dir = folder.file("checkpoints"), .run = {"m", "r"}});
    Reporter report;
    if (comm.rank() == 0) report.add(std::make_unique<LogSink>(log));
    CompressionSwitch compression(comm, 0.05, [&](Context&) {
      return ExchangeProbe{c.network, "probed"};
    });
    TrainOptions options;
    options.steps = kSteps;
    options.update.dense_steps = c.onebit ? -1 : 0;
    const auto alone = make_local_world(1);
    Pipeline pipeline(*alone[0], with_messages(one_f_one_b(1, 1)));
    Trainer trainer(options, {comm, pipeline, task, *optimizer, group, checkpoints, report,
                              ScheduleConfig{.total_steps = kSteps}, nullptr, &compression});
    checkpoints.track({params, {optimizer.get(), &group, &trainer, &compression}});
    EXPECT_EQ(trainer.run(cx), Outcome::kFinished);
  });
  return log;
}

// A bit a parameter and the sums for the norm of the mean.
bool is_compressed(const StepMetrics& m) {
  return m.wire_bytes < m.wire_dense_bytes / 5;
}

constexpr ExchangeForecast kFast{.codec_s = 1e6};
constexpr ExchangeForecast kThrottled{.dense_s = 1e6, .compressed_s = 1e4};

TEST(TrainerCompression, SwitchesItselfOffWhereTheNetworkIsFast) {
  for (const bool onebit : {false, true}) {
    const Log log = train({onebit, kFast});
    EXPECT_THAT(log.notes, Contains(HasSubstr("compression off: ")));
    EXPECT_THAT(log.notes, Contains(HasSubstr("a dense step took")));
    EXPECT_THAT(log.notes, Not(Contains(HasSubstr("compressed from"))));
    ASSERT_EQ(log.steps.size(), static_cast<std::size_t>(kSteps));
    for (const StepMetrics& m : log.steps) {
      EXPECT_FALSE(is_compressed(m)) << m.step;
      EXPECT_EQ(m.wire_bytes, m.wire_dense_bytes) << m.step;
    }
  }
}

TEST(TrainerCompression, KeepsItselfOnWhereTheNetworkIsSlow) {
  for (const bool onebit : {false, true}) {
    const Log log = train({onebit, kThrottled});
    EXPECT_THAT(log.notes, Contains(HasSubstr("compression on: ")));
    EXPECT_THAT(log.notes, Contains(HasSubstr("a compressed step took")));
    const std::int64_t first = onebit ? 7 : CompressionSwitch::kMeasuredSteps + 1;
    EXPECT_THAT(log.notes, Contains(HasSubstr("compressed from step " + std::to_string(first))));
    for (const StepMetrics& m : log.steps) {
      // The reducer's own first exchange of gradients is dense.
      if (!onebit && m.step == first) continue;
      EXPECT_EQ(is_compressed(m), m.step >= first) << m.step;
    }
  }
}

}  // namespace
}  // namespace gradwire
