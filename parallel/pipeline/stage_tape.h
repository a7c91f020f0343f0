// The tape of one micro-batch in one stage: any number of tensors go in, any number come out, and
// backward begins at all of those at once.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "parallel/pipeline/stage_model.h"

namespace gradwire {

class StageTape {
 public:
  explicit StageTape(bool recording) : tape_(recording) {}

  Tape& tape() { return tape_; }
  // Takes in what the stage before hands on.
  std::span<const Var> begin(const std::vector<TensorSpec>& specs, std::vector<Tensor> values);
  // The forward pass is over, and `out` are those of its results that will be given a gradient:
  // lets go of all that backward does not need.
  void end(Context& cx, std::span<const Var> out);
  // `seeds`: their gradients, in that order. `split` leaves the gradients of weights to
  // backward_weights().
  void backward(Context& cx, std::vector<Tensor> seeds, bool split);
  void backward_weights(Context& cx) { tape_.backward_weights(cx); }
  // After backward: of those inputs that have gradients, zeros if none reached them, so that the
  // stage before gets what it waits for.
  std::vector<Tensor> input_gradients(Context& cx) const;

 private:
  Tape tape_;
  std::vector<TensorSpec> specs_;
  std::vector<Var> in_;
  Var root_;
  Tensor root_seed_;                            // of a root that joins several tensors
  std::shared_ptr<std::vector<Tensor>> seeds_;  // of those
};

}  // namespace gradwire
