// Pretraining a decoder language model on a token file: next-token cross-entropy.
#pragma once

#include <optional>
#include <utility>

#include "data/sampler.h"
#include "models/decoder_lm.h"
#include "train/task.h"

namespace gradwire {

class LanguageModelTask final : public Task {
 public:
  // `valid` may be null: evaluation then covers nothing. All must outlive the task. Errors: kData
  // where the files' vocabulary is not the model's.
  LanguageModelTask(Context& cx, DecoderLm& model, const TokenFile& train, const TokenFile* valid,
                    const SamplerConfig& config);

  Module& model() override { return model_; }
  Var loss(Context& cx, Tape& tape) override;
  std::int64_t tokens_per_micro_batch() const override;
  EvalSums evaluate(Context& cx, std::int64_t max_batches) override;
  double epoch() const override;
  double take_data_seconds() override { return std::exchange(data_seconds_, 0.0); }
  void visit_state(StateVisitor& v) override;

 private:
  DecoderLm& model_;
  SamplerConfig config_;
  TrainSampler sampler_;
  std::optional<ValidationSampler> valid_;
  double data_seconds_ = 0.0;
};

}  // namespace gradwire
