// Training a decoder language model on a token file: next-token cross-entropy, of samples to
// fine-tune on over their answers alone.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "data/sampler.h"
#include "models/adapters/adapter_set.h"
#include "models/decoder_lm.h"
#include "train/task.h"

namespace gradwire {

// What the task reads. Files must outlive it; their ids must be in the model's vocabulary.
struct TaskData {
  const TokenFile* train = nullptr;  // null: no training data
  const TokenFile* valid = nullptr;  // null: evaluation covers nothing
  SamplerConfig sampler;             // has replicas for ranks
  bool packs = false;                // of samples: several in one row
  bool random = false;               // every micro-batch is the same random tokens, for timing
};

class LanguageModelTask final : public Task {
 public:
  // `stages`: the units of every stage of the pipeline; those of this rank's must be in the model.
  // Errors: kData if the files' vocabulary is larger than the model's.
  LanguageModelTask(Context& cx, std::unique_ptr<DecoderLm> model, std::vector<UnitRange> stages,
                    const TaskData& data);
  // The same with adapters, made for this rank's stages of the model, which is frozen but for
  // what may be trained beside them: these alone are saved.
  LanguageModelTask(Context& cx, std::unique_ptr<DecoderLm> model,
                    std::unique_ptr<AdapterSet> adapters, std::vector<UnitRange> stages,
                    const TaskData& data);

  // The metric of its evaluation.
  static constexpr const char* kLoss = "loss";

  DecoderLm& decoder() { return model_; }
  AdapterSet* adapters() { return adapters_.get(); }  // null: none
  Adaptation adapted() { return adapters_ ? Adaptation(*adapters_, 0) : Adaptation(); }
  ParameterSet parameters() override;
  ParameterSet saved() override { return adapters_ ? trained() : parameters(); }
  StageModel& next_step() override;
  Counters counters() const override;
  // kLoss, in nats per token, beside which its perplexity is shown.
  std::vector<Metric> metrics() const override;
  std::vector<Sum> evaluate(Context& cx, Pipeline& pipeline, Communicator& world,
                            std::int64_t max_batches) override;
  double epoch() const override;
  double take_data_seconds() override { return std::exchange(data_seconds_, 0.0); }
  void visit_state(StateVisitor& v) override;

 private:
  // Batches by number; stages ask for one several times.
  class Stages final : public StageModel {
   public:
    // `targets`: of a batch, those that count; empty if all batches have the same number.
    Stages(LanguageModelTask& task, std::function<Batch(std::int64_t)> draw,
           std::function<std::int64_t(std::int64_t)> targets = {})
        : task_(task), draw_(std::move(draw)), targets_(std::move(targets)) {}
    void count_targets(std::function<std::int64_t(std::int64_t)> targets) {
      targets_ = std::move(targets);
    }
    std::int64_t tokens() const;  // of the batches drawn, without padding
    void begin_at(std::int64_t first);
    std::vector<Var> forward(Context& cx, Tape& tape, int stage, int micro,
                             std::span<const Var> in) override;
    std::vector<TensorSpec> activations(int stage, int micro) const override;
    double weight(int micro) const override;
    std::optional<double> total_weight(int micros) const override;

   private:
    const Batch& batch(int micro);

    LanguageModelTask& task_;
    std::function<Batch(std::int64_t)> draw_;
    std::function<std::int64_t(std::int64_t)> targets_;
    std::int64_t first_ = 0;
    std::vector<Batch> batches_;
  };

  void read_from(Context& cx, const TaskData& data);
  Batch next_training_batch();

  std::unique_ptr<DecoderLm> owned_;
  DecoderLm& model_;
  std::unique_ptr<AdapterSet> adapters_;  // null: none
  std::vector<UnitRange> stages_;
  SamplerConfig config_;
  std::unique_ptr<TrainingBatches> sampler_;  // null: no data
  std::int64_t taken_before_step_ = 0;
  Batch random_batch_;
  std::unique_ptr<ValidationBatches> valid_;  // null: none
  Stages training_, validation_;
  double data_seconds_ = 0.0;
};

}  // namespace gradwire
