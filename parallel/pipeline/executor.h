// Carries out a schedule on one rank of a pipeline: one small loop for all schedules. Receives are
// begun one computation ahead and sends are not waited for, so that bytes move while the rank
// computes. Knows nothing of models or losses beyond StageModel, nor of replicas: what is done with
// complete gradients is the caller's (ExecutorHooks). Micro-batches of weight 0 are passed over by
// all ranks of the pipeline, with their messages.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "parallel/pipeline/activation_transport.h"
#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/stage_model.h"
#include "parallel/pipeline/stage_tape.h"
#include "parallel/pipeline/step_weight.h"
#include "parallel/pipeline/timeline.h"

namespace gradwire {

struct ExecutorHooks {
  std::function<void(Tape& tape)> recorded{};   // a forward pass that will be differentiated
  std::function<void(int stage)> reduce{};      // kReduce
  std::function<void(int stage)> tie{};         // kTie
  std::function<void(const Action&)> begins{};  // any action: for whoever watches
};

class Executor {
 public:
  // `stages` has one rank per rank of the schedule and must outlive this, as must `transport`,
  // which says how activations are sent. The schedule has its messages (with_messages). Errors:
  // kUsage if their numbers differ.
  Executor(Communicator& stages, const Schedule& schedule, ActivationTransport& transport);

  // Forward and backward of every micro-batch, whose loss counts with its share of `whole`. Gives
  // the losses, by micro-batch and 0 for those passed over, on the rank that has the last stage,
  // and nothing elsewhere. Errors: kUsage for weights that make no sense; kShape if a stage hands
  // on other tensors than the model says.
  std::vector<double> train(Context& cx, StageModel& model, StepWeight& whole,
                            const ExecutorHooks& hooks);
  // A schedule without backward: only the losses.
  std::vector<double> evaluate(Context& cx, StageModel& model);

  // The actions of the last run, as begun and ended, in seconds on the steady clock. What a
  // computation waits for is the receive's time and not its own.
  const std::vector<TimelineEvent>& timeline() const { return timeline_; }
  // Seconds of it spent waiting for other stages.
  double waited_s() const { return waited_s_; }

 private:
  // What a stage waits for: here, or on its way.
  struct Arrival {
    std::vector<Tensor> here;
    PendingReceive coming;
    std::size_t event = 0;  // the receive's in the timeline
  };
  // A micro-batch in a stage.
  struct Flight {
    std::unique_ptr<StageTape> tape;
    Arrival input, gradient;                     // of the stage's input, of its result
    std::vector<Tensor> result, input_gradient;  // to be sent
  };
  struct Run {
    Context& cx;
    StageModel& model;
    StepWeight* whole;  // null: no training
    const ExecutorHooks& hooks;
    std::vector<bool> computed{};  // by micro-batch
    std::vector<double> losses{};
    bool training() const { return whole != nullptr; }
  };

  std::vector<double> run(Run run);
  void carry_out(Run& run, const Action& a);
  void begin_receives(Run& run, const Program& program, std::size_t at);
  void begin_receive(Run& run, const Action& a);
  Arrival& arrival_of(const Action& a);
  void forward(Run& run, const Action& a);
  void backward(Run& run, const Action& a);
  void backward_weights(Run& run, const Action& a);
  void send(Run& run, const Action& a);
  void finish_oldest_send(Context& cx);
  void pass_on(int to_stage, const Action& a, std::vector<Tensor> tensors, bool gradient);
  std::vector<Tensor> take(Context& cx, const ActivationLink& link, Arrival& a);
  std::vector<Tensor> seeds(Run& run, const Action& a);
  std::vector<TensorSpec> results(const StageModel& model, int stage, int micro) const;
  static bool is_passed_over(const Run& run, const Action& a);
  Flight& flight(int stage, int micro) { return flights_[{stage, micro}]; }
  bool is_last(int stage) const { return stage + 1 == schedule_.stages(); }
  bool is_here(int stage) const { return schedule_.rank_of(stage) == comm_.rank(); }

  Communicator& comm_;
  Schedule schedule_;
  ActivationTransport& transport_;
  std::map<std::pair<int, int>, Flight> flights_;
  std::deque<WorkPtr> sends_;
  std::size_t received_to_ = 0;  // of the program: receives before it have begun
  std::vector<TimelineEvent> timeline_;
  double began_s_ = 0.0;  // the action at hand
  double waited_s_ = 0.0;
};

}  // namespace gradwire
