#include "parallel/pipeline/stage_tape.h"

#include <utility>

namespace gradwire {

std::span<const Var> StageTape::begin(const std::vector<TensorSpec>& specs,
                                      std::vector<Tensor> values) {
  specs_ = specs;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Tensor& t = values[i];
    in_.push_back(specs_[i].has_gradient() ? tape_.input(std::move(t))
                                           : tape_.constant(std::move(t)));
  }
  return in_;
}

// Backward has one root. Several tensors become one by an op whose gradient is theirs.
void StageTape::end(Context& cx, std::span<const Var> out) {
  if (!tape_.recording()) return;
  if (out.size() == 1) {
    root_ = out[0];
  } else {
    root_seed_ = Tensor::zeros(cx, {}, DType::kF32);
    seeds_ = std::make_shared<std::vector<Tensor>>();
    const std::vector<Var> joined(out.begin(), out.end());
    root_ = tape_.record(root_seed_, joined,
                         [joined, seeds = seeds_](Context& c, Tape& tape, const Tensor&) {
                           for (std::size_t i = 0; i < joined.size(); ++i)
                             tape.accumulate(c, joined[i], std::exchange((*seeds)[i], {}));
                         });
  }
  tape_.keep_only(root_);
}

void StageTape::backward(Context& cx, std::vector<Tensor> seeds, bool split) {
  Tensor seed = root_seed_;
  if (seeds_) {
    *seeds_ = std::move(seeds);
  } else {
    seed = std::move(seeds[0]);
  }
  if (split) {
    tape_.backward_inputs(cx, root_, seed);
  } else {
    tape_.backward(cx, root_, seed);
  }
}

std::vector<Tensor> StageTape::input_gradients(Context& cx) const {
  std::vector<Tensor> gradients;
  for (std::size_t i = 0; i < in_.size(); ++i) {
    if (!specs_[i].has_gradient()) continue;
    Tensor t = tape_.grad(in_[i]);
    if (!t) t = Tensor::zeros(cx, specs_[i].shape, specs_[i].dtype);
    gradients.push_back(std::move(t));
  }
  return gradients;
}

}  // namespace gradwire
