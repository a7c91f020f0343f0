// A small decoder cut into stages, which learns what follows random tokens: what pipelines are
// tested on.
#pragma once

#include <memory>
#include <vector>

#include "core/ops/cross_entropy/cross_entropy.h"
#include "models/decoder_lm.h"
#include "parallel/pipeline/executor.h"

namespace gradwire::test {

inline DecoderConfig small_decoder() {
  DecoderConfig c;
  c.vocab = 31;
  c.layers = 6;
  c.width = 16;
  c.heads = 2;
  c.kv_heads = 1;
  c.ffn_width = 24;
  c.dropout = 0.2;
  return c;
}

// Units in `stages` parts of nearly equal length.
inline std::vector<UnitRange> even_cut(int units, int stages) {
  std::vector<UnitRange> cut;
  for (int s = 0; s < stages; ++s)
    cut.push_back({s * units / stages, (s + 1) * units / stages});
  return cut;
}

class DecoderStages final : public StageModel {
 public:
  static constexpr std::int64_t kBatch = 2, kTokens = 5;

  // Those of `cut` that a rank of the schedule has.
  DecoderStages(Context& cx, const DecoderConfig& config, std::vector<UnitRange> cut,
                const Schedule& schedule, int rank)
      : cut_(std::move(cut)) {
    std::vector<UnitRange> here;
    for (int s = 0; s < schedule.stages(); ++s)
      if (schedule.rank_of(s) == rank) here.push_back(cut_[static_cast<std::size_t>(s)]);
    Context seeded = cx;
    seeded.rng.seed = 3;
    model_ = std::make_unique<DecoderLm>(seeded, config, here);
  }

  std::vector<Var> forward(Context& cx, Tape& tape, int stage, int micro,
                           std::span<const Var> in) override {
    Context own = cx;
    const auto number = static_cast<std::uint64_t>(first_ + micro * stride_);
    own.rng.seed = derive_seed(std::uint64_t{11}, number);
    const Tensor ids = tokens(cx, number);
    const UnitRange units = cut_[static_cast<std::size_t>(stage)];
    const Var out = model_->forward(own, tape, units, ids, in.empty() ? Var{} : in.front());
    if (units.end < unit_count(model_->config())) return {out};
    return {cross_entropy(own, tape, out, successors(cx, ids))};
  }
  Shape boundary_shape() const { return {kBatch, kTokens, model_->config().width}; }
  std::vector<TensorSpec> activations(int, int) const override {
    return {{boundary_shape(), model_->config().compute}};
  }
  double weight(int) const override { return 1.0; }
  std::optional<double> total_weight(int micros) const override { return micros; }

  DecoderLm& model() { return *model_; }
  // Micro-batch m is number first + m * stride of all.
  void begin_at(int first, int stride = 1) {
    first_ = first;
    stride_ = stride;
  }

 private:
  Tensor tokens(Context& cx, std::uint64_t seed) const {
    std::vector<std::int32_t> ids;
    for (std::uint64_t i = 0; i < kBatch * kTokens; ++i)
      ids.push_back(static_cast<std::int32_t>(random_word(seed, i) %
                                              static_cast<std::uint32_t>(model_->config().vocab)));
    return Tensor::from(cx, {kBatch, kTokens}, ids);
  }

  // A rule that can be learnt.
  Tensor successors(Context& cx, const Tensor& ids) const {
    std::vector<std::int32_t> next = ids.to_host<std::int32_t>(cx);
    for (std::int32_t& id : next)
      id = (3 * id + 1) % static_cast<std::int32_t>(model_->config().vocab);
    return Tensor::from(cx, ids.shape(), next);
  }

  std::vector<UnitRange> cut_;
  std::unique_ptr<DecoderLm> model_;
  int first_ = 0, stride_ = 1;
};

}  // namespace gradwire::test
