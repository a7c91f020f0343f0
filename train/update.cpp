#include "train/update.h"

#include "optim/clip.h"

namespace gradwire {

Update::Update(UpdateOptions options, Optimizer& optimizer, DataParallel& ranks)
    : options_(options), optimizer_(optimizer), ranks_(ranks) {}

void Update::begin(std::int64_t step, bool settle) {
  step_ = step;
  settle_ = settle;
  optimizer_.hold_dense(hold_);
  needs_ = optimizer_.needs(settle);
  compresses_gradients_ = needs_.gradients && !needs_.exchange && ranks_.compresses() && !hold_ &&
                          options_.dense_steps >= 0 && step > options_.dense_steps;
  dense_ = needs_.gradients && !needs_.exchange && !compresses_gradients_;
  ranks_.average(dense_ ? Averaged::kAll : Averaged::kUncompressed);
}

void Update::overlap(Context& cx, Tape& tape, int passes) {
  ranks_.overlap(cx, tape, passes);
}

double Update::norm(Context& cx) {
  norm_ = ranks_.mean_gradient_norm(cx, static_cast<std::uint64_t>(step_));
  return norm_;
}

void Update::apply(Context& cx, double lr) {
  StepInfo info;
  info.step = step_;
  info.lr = lr;
  info.settle = settle_;
  info.grad_norm = norm_;
  info.grad_scale = clip_factor(norm_, options_.clip_norm);
  if (compresses_gradients_) {
    ranks_.compress_gradients(cx, info.grad_scale);
    info.grad_scale = 1.0;
  }
  if (needs_.exchange) ranks_.agree(cx, optimizer_.exchange(cx, info));
  optimizer_.apply(cx, info);
}

}  // namespace gradwire
