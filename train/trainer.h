// The training loop: micro-batches through the pipeline, agreement of the ranks, clipping, update;
// evaluation, checkpoints, metrics; and the rules for stopping. Every decision that ranks must
// share (stop, skip, save) travels in one small control word per step, so that all of them act
// after the same step.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "core/state.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "parallel/agreement.h"
#include "parallel/data_parallel.h"
#include "parallel/pipeline/pipeline.h"
#include "train/checkpoint/checkpointing.h"
#include "train/compression_switch.h"
#include "train/metrics/reporter.h"
#include "train/step_observer.h"
#include "train/task.h"
#include "train/update.h"

namespace gradwire {

struct TrainOptions {
  std::int64_t steps = 0;
  std::int64_t eval_every = 0;    // steps; 0: only at the end
  std::int64_t eval_batches = 0;  // 0: all of the validation data
  std::int64_t log_every = 10;
  std::int64_t max_nonfinite = 10;  // skipped steps in a row before giving up
  // Steps between comparisons of the replicas; 0: only at the start.
  std::int64_t replica_check_every = 0;
  UpdateOptions update;
  std::uint64_t seed = 1;
};

enum class Outcome {
  kFinished,
  kStopped,  // on request, with a complete checkpoint
};

struct TrainParts {
  Communicator& world;
  Pipeline& pipeline;
  Task& task;
  Optimizer& optimizer;
  DataParallel& ranks;  // the replicas of this rank's stage
  Checkpointing& checkpoints;
  Reporter& report;
  ScheduleConfig schedule;
  std::function<bool()> stop_requested;      // asked once per step
  CompressionSwitch* compression = nullptr;  // if the run compresses; tracked as the rest
  std::vector<StepObserver*> observers{};
};

class Trainer : public Stateful {
 public:
  // Errors: kUsage if a parameter is trainable that the task does not train, since its gradient
  // would be computed for nothing.
  Trainer(TrainOptions options, TrainParts parts);

  // Trains from the step after the last finished one. Errors: kNumeric after max_nonfinite skipped
  // steps in a row.
  Outcome run(Context& cx);
  // What the task's evaluation gives for the model as it is now, made once per step. Collective.
  const std::vector<Sum>& evaluation(Context& cx);
  std::int64_t step() const { return step_; }
  void visit_state(StateVisitor& v) override;

 private:
  // What one step gave, the same on every rank.
  struct StepResult {
    double loss = 0.0;
    double grad_norm = 0.0;
    double lr = 0.0;
    bool skipped = false;
    std::vector<double> counts{};
    bool empty = false;  // skipped because no rank had anything to learn from
    bool stop = false;
  };
  Outcome train(Context& cx);
  StepResult train_step(Context& cx);
  // Gives the losses if this rank has the last stage, else nothing.
  LossSum accumulate_gradients(Context& cx);
  void enter(StepPart part);
  StepWord step_word(const LossSum& losses) const;
  StepResult agree(Context& cx, StepAgreement& agreement, double grad_norm);
  void count_skipped(const StepResult& r);
  // Whether the replicas must be equal after this step: it ends the run, or an evaluation or a
  // checkpoint follows.
  bool settles(std::int64_t step) const;
  bool evaluation_due(std::int64_t step) const;
  bool replica_check_due() const;
  void check_replicas(Context& cx);
  // That of this step, if it has been made.
  std::span<const Sum> evaluation_so_far() const;
  StepMetrics report_step(Context& cx, const StepResult& r, double seconds);
  void report_notes(const std::vector<std::string>& notes);
  // Reports nothing if there is nothing to evaluate on.
  void report_evaluation(Context& cx);
  // Failing to save is a warning, unless the run ends here: then it is Error(kIo).
  void save(Context& cx, bool must);

  TrainOptions options_;
  TrainParts parts_;
  Update update_;
  ParameterSet trained_;
  std::int64_t step_ = 0;
  std::int64_t nonfinite_total_ = 0;
  std::int64_t nonfinite_in_row_ = 0;
  double exchange_wait_s_ = 0.0;  // of the last step: waiting for other replicas
  double agree_wait_s_ = 0.0;     // of the last step: whoever had its gradients first waits here
  bool said_empty_ = false;       // of the first step without data: once is enough
  bool stopping_ = false;         // agreed on: the next step is the last of this process
  std::vector<Sum> evaluation_;
  std::int64_t evaluated_at_ = -1;  // the step of evaluation_
  std::int64_t checked_at_ = 0;     // the step of the last comparison of the replicas
  WireCount sent_before_;           // the ledger at the end of the step before
};

}  // namespace gradwire
