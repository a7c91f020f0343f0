// The weight of a whole step, by which each micro-batch's share in the mean gradient is found:
// known at once, or the sum over the replicas, which is on its way while the first forward runs.
#pragma once

#include <optional>

#include "comm/communicator.h"
#include "core/context.h"
#include "parallel/pipeline/stage_model.h"

namespace gradwire {

class StepWeight {
 public:
  // Known: of all micro-batches of so many replicas.
  explicit StepWeight(double total, int replicas = 1);
  // Of the step that `model` is about to compute, with `micros` micro-batches in each replica. If
  // the model does not know the total, begins to add it up over `replicas`, the ranks that have the
  // same stage: eight bytes, collective.
  StepWeight(Context& cx, Communicator& replicas, const StageModel& model, int micros);

  // Of all replicas together; waits for it, if need be.
  double total(Context& cx);
  // The gradient of the loss of a micro-batch of weight `weight`: replicas * weight / total, since
  // gradients are averaged over the replicas afterwards.
  double seed(Context& cx, double weight);

 private:
  double replicas_;
  std::optional<double> total_;
  Tensor sum_;
  WorkPtr summing_;
};

}  // namespace gradwire
