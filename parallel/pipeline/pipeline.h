// One replica's stages at work: the schedule of a training step, and passes that only evaluate.
// Every run has one; without pipelining it is a pipeline of one stage on one rank.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "parallel/pipeline/executor.h"

namespace gradwire {

class Pipeline : public Stateful {
 public:
  // `stages` are the ranks of this replica, and must outlive it. The schedule has its messages.
  // `transport` is how activations are sent in training; evaluation sends them unchanged. Errors:
  // kUsage.
  Pipeline(Communicator& stages, const Schedule& schedule,
           std::unique_ptr<ActivationTransport> transport);
  // Tensors as they are.
  Pipeline(Communicator& stages, const Schedule& schedule);

  // Forward and backward of a step's micro-batches, each with its share of `whole`. Gives the
  // losses by micro-batch, 0 for those of weight 0, on the rank of the last stage, and nothing
  // elsewhere. Errors: as of Executor::train().
  std::vector<double> train(Context& cx, StageModel& model, StepWeight& whole,
                            const ExecutorHooks& hooks);
  // The losses of the first `micros` micro-batches of `model`, likewise.
  std::vector<double> evaluate(Context& cx, StageModel& model, int micros);

  const Schedule& schedule() const { return schedule_; }
  Communicator& stages() { return stages_; }
  std::vector<int> stages_here() const;
  // Whether losses are computed on this rank.
  bool has_last_stage() const {
    return schedule_.rank_of(schedule_.stages() - 1) == stages_.rank();
  }
  // Of the last train().
  const std::vector<TimelineEvent>& timeline() const { return executor_.timeline(); }
  // Seconds spent waiting for other stages since the last call of this.
  double take_wait_seconds();
  // The transport's.
  void visit_state(StateVisitor& v) override { transport_->visit_state(v); }

 private:
  Communicator& stages_;
  Schedule schedule_;
  std::unique_ptr<ActivationTransport> transport_, plain_;
  Executor executor_;
  double waited_s_ = 0.0;
};

}  // namespace gradwire
