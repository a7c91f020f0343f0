// A small classifier of tokens, cut into stages that hand several tensors on, over samples of
// unequal length of which some are empty: what pipelines of unequal work are tested on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/ops/cross_entropy/cross_entropy.h"
#include "core/ops/elementwise/elementwise.h"
#include "core/ops/embedding/embedding.h"
#include "core/ops/linear/linear.h"
#include "models/module.h"
#include "parallel/pipeline/stage_model.h"

namespace gradwire::test {

class RaggedStages final : public StageModel {
 public:
  static constexpr std::int64_t kWidth = 8, kClasses = 7;
  static constexpr int kSamples = 16;  // of a step, over all replicas
  // Layers beside the embedding, spread evenly over the stages.
  static constexpr int kLayers = 4;

  // Samples are dealt out in order: micro-batch m of replica r gets the (r * micros + m)-th part.
  RaggedStages(Context& cx, int stages, int micros, int replicas, int replica)
      : stages_(stages), micros_(micros), replicas_(replicas), replica_(replica) {
    cx.rng.seed = 5;
    init_normal(cx, table_, "table", {kClasses, kWidth}, 1.0);
    for (int l = 0; l < kLayers; ++l) {
      layers_.push_back(std::make_unique<Parameter>());
      init_normal(cx, *layers_.back(), "layer" + std::to_string(l), {kWidth, kWidth}, 0.5);
    }
    init_normal(cx, head_, "head", {kClasses, kWidth}, 0.5);
  }

  std::vector<Var> forward(Context& cx, Tape& tape, int stage, int micro,
                           std::span<const Var> in) override {
    const std::vector<std::int32_t> ids = tokens(micro);
    const auto n = static_cast<std::int64_t>(ids.size());
    Var x, skip, targets, scale;
    if (stage == 0) {
      x = embedding(cx, tape, tape.param(table_), Tensor::from(cx, {n}, ids));
      skip = x;
      targets = tape.constant(Tensor::from(cx, {n}, ids));
      Tensor half = Tensor::empty(cx, {n, kWidth}, DType::kF32);
      fill(cx, half, 0.5);
      scale = tape.constant(half);
    } else {
      x = in[0], skip = in[1], targets = in[2], scale = in[3];
    }
    for (int l = stage * kLayers / stages_; l < (stage + 1) * kLayers / stages_; ++l) {
      Parameter& layer = *layers_[static_cast<std::size_t>(l)];
      x = unary(cx, tape, Unary::kSilu, linear(cx, tape, x, tape.param(layer)));
      x = add(cx, tape, x, mul(cx, tape, scale, skip));
    }
    if (stage + 1 == stages_) {
      const Var logits = linear(cx, tape, x, tape.param(head_));
      return {cross_entropy(cx, tape, logits, tape.value(targets))};
    }
    // The last is read by nobody: its gradient is missing.
    return {x, skip, targets, scale, scaled(cx, tape, x, 2.0)};
  }
  std::vector<TensorSpec> activations(int, int micro) const override {
    const auto n = static_cast<std::int64_t>(tokens(micro).size());
    const TensorSpec floats{{n, kWidth}, DType::kF32};
    return {floats, floats, {{n}, DType::kI32}, {{n, kWidth}, DType::kF32, false}, floats};
  }
  double weight(int micro) const override { return static_cast<double>(tokens(micro).size()); }

  // Bytes that one stage hands to the next, and gets back, for all tokens of a micro-batch.
  std::int64_t bytes_forward(int micro) const {
    return static_cast<std::int64_t>(tokens(micro).size()) * (4 * kWidth * 4 + 4);
  }
  std::int64_t bytes_backward(int micro) const {
    return static_cast<std::int64_t>(tokens(micro).size()) * 3 * kWidth * 4;
  }

  // Of all stages; those of other ranks' stages get no gradient.
  std::vector<Parameter*> params() {
    std::vector<Parameter*> all{&table_};
    for (const auto& l : layers_)
      all.push_back(l.get());
    all.push_back(&head_);
    return all;
  }
  // Of the stages that a rank of the schedule has.
  std::vector<Parameter*> params_of(const std::vector<int>& stages) {
    std::vector<Parameter*> here;
    for (const int s : stages) {
      if (s == 0) here.push_back(&table_);
      for (int l = s * kLayers / stages_; l < (s + 1) * kLayers / stages_; ++l)
        here.push_back(layers_[static_cast<std::size_t>(l)].get());
      if (s + 1 == stages_) here.push_back(&head_);
    }
    return here;
  }

  // Every sample is empty from now on.
  void forget_samples() { empty_ = true; }

 private:
  // Lengths 0 to 9; a quarter of the samples are empty, so that parts are too.
  std::vector<std::int32_t> sample(int number) const {
    const std::uint32_t word = random_word(std::uint64_t{17}, static_cast<std::uint64_t>(number));
    const std::uint32_t length = empty_ || number % 8 < 2 ? 0 : word % 10;
    std::vector<std::int32_t> ids;
    for (std::uint32_t i = 0; i < length; ++i)
      ids.push_back(static_cast<std::int32_t>((word / 16 + 3 * i) % kClasses));
    return ids;
  }
  std::vector<std::int32_t> tokens(int micro) const {
    const int part = kSamples / (micros_ * replicas_);
    const int first = (replica_ * micros_ + micro) * part;
    std::vector<std::int32_t> all;
    for (int i = first; i < first + part; ++i) {
      const std::vector<std::int32_t> ids = sample(i);
      all.insert(all.end(), ids.begin(), ids.end());
    }
    return all;
  }

  int stages_, micros_, replicas_, replica_;
  bool empty_ = false;
  Parameter table_, head_;
  std::vector<std::unique_ptr<Parameter>> layers_;
};

}  // namespace gradwire::test
