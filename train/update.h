// One update of all ranks, from the gradients of their micro-batches to new parameters: how the
// gradients travel, what norm they have, and what else the optimizer wants agreed on. The training
// loop puts its vote on skipping before apply(): until then nothing that lasts
// (momenta, residuals, parameters) has been touched, so that a skipped step leaves no trace.
#pragma once

#include <cstdint>

#include "optim/optimizer.h"
#include "parallel/data_parallel.h"

namespace gradwire {

struct UpdateOptions {
  double clip_norm = 1.0;  // of the global gradient; 0: off
  // Gradients travel as they are up to this step, compressed from then on if `ranks` compresses;
  // negative: always as they are.
  std::int64_t dense_steps = 0;
};

class Update {
 public:
  Update(UpdateOptions options, Optimizer& optimizer, DataParallel& ranks);

  // While `hold`, steps are dense even if the options or the optimizer would have them
  // compressed.
  void hold_dense(bool hold) { hold_ = hold; }
  // Before the first micro-batch of step `step`, counted from 1. `settle` as in Optimizer::needs().
  void begin(std::int64_t step, bool settle);
  // Whether all gradients travel as they are in this step.
  bool is_dense() const { return dense_; }
  // Each of the step's tapes before its backward, `passes` of them for each parameter: gradients
  // may travel during the last.
  void overlap(Context& cx, Tape& tape, int passes);
  // The gradient of a parameter tied over two stages is final here.
  void submit_tied(Context& cx) { ranks_.submit_tied(cx); }
  // After the last backward: all gradients that travel have arrived. Collective.
  void finish_gradients(Context& cx) { ranks_.finish_gradients(cx); }
  // After that: the norm of the mean gradient over the ranks (an estimate if
  // gradients do not travel as they are), the same on all of them. Not finite if any rank's
  // gradient is not. Collective.
  double norm(Context& cx);
  // Clips by that norm, agrees on what is left to agree on, and updates. Collective.
  void apply(Context& cx, double lr);

 private:
  UpdateOptions options_;
  Optimizer& optimizer_;
  DataParallel& ranks_;
  StepNeeds needs_;
  bool hold_ = false;
  bool settle_ = false;
  bool dense_ = false;
  bool compresses_gradients_ = false;
  std::int64_t step_ = 0;
  double norm_ = 0.0;
};

}  // namespace gradwire
