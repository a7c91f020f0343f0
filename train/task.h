// What a run trains on: a model, or the stages of it that a rank has, and how micro-batches become
// losses. A task owns its place in the data as state; it knows nothing of optimizers, nor of ranks
// beyond its replica's share of the data and its stages.
#pragma once

#include <cstdint>

#include "core/state.h"
#include "models/module.h"
#include "parallel/pipeline/executor.h"

namespace gradwire {

class Task : public Stateful {
 public:
  virtual Module& model() = 0;
  // The micro-batches of the next step, drawn as they are asked for. cx.rng.seed is the step's: all
  // stages of a replica give the same.
  virtual StageModel& next_step() = 0;
  virtual std::int64_t tokens_per_micro_batch() const = 0;

  // This replica's share of the validation data, in batches; those of all replicas have the same
  // number.
  virtual std::int64_t validation_batches() const = 0;
  // Micro-batch m of it is batch first + m, and its weight the tokens that its loss is the mean of.
  virtual StageModel& validation(std::int64_t first) = 0;

  virtual double epoch() const = 0;  // passes over the training data so far
  // Seconds spent reading data since the last call of this.
  virtual double take_data_seconds() = 0;
};

}  // namespace gradwire
