// One kind of job, as the training loop sees it: a model, and how the next micro-batch becomes a
// loss. A task owns its place in the data as state; it knows nothing of optimizers, nor of ranks
// beyond its own share of the data.
#pragma once

#include <cstdint>

#include "core/state.h"
#include "core/tape.h"
#include "models/module.h"

namespace gradwire {

// Sums over what this rank evaluated; ranks add theirs up.
struct EvalSums {
  double loss = 0.0;  // of all tokens, in nats
  double tokens = 0.0;
};

class Task : public Stateful {
 public:
  virtual Module& model() = 0;
  // Draws this rank's next micro-batch and gives its mean loss, a scalar f32.
  virtual Var loss(Context& cx, Tape& tape) = 0;
  virtual std::int64_t tokens_per_micro_batch() const = 0;
  // This rank's share of the validation data, at most `max_batches` batches of it (0: all).
  virtual EvalSums evaluate(Context& cx, std::int64_t max_batches) = 0;
  virtual double epoch() const = 0;  // passes over the training data so far
  // Seconds spent reading data since the last call of this.
  virtual double take_data_seconds() = 0;
};

}  // namespace gradwire
