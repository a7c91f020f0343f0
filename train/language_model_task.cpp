#include "train/language_model_task.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/cross_entropy/cross_entropy.h"

namespace gradwire {
namespace {

void check_vocabulary(const TokenFile& file, const DecoderLm& model) {
  if (file.vocabulary() == model.config().vocab) return;
  throw Error(ErrorKind::kData, fmt::format("{}: vocabulary of {}, but the model has {}",
                                            file.path(), file.vocabulary(), model.config().vocab));
}

}  // namespace

LanguageModelTask::LanguageModelTask(Context& cx, DecoderLm& model, const TokenFile& train,
                                     const TokenFile* valid, const SamplerConfig& config)
    : model_(model), config_(config), sampler_(cx, train, config) {
  check_vocabulary(train, model);
  if (valid == nullptr) return;
  check_vocabulary(*valid, model);
  valid_.emplace(cx, *valid, config);
}

Var LanguageModelTask::loss(Context& cx, Tape& tape) {
  const auto start = std::chrono::steady_clock::now();
  const Batch batch = sampler_.next();
  data_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return cross_entropy(cx, tape, model_.logits(cx, tape, batch.inputs), batch.targets);
}

std::int64_t LanguageModelTask::tokens_per_micro_batch() const {
  return config_.batch * config_.sequence;
}

EvalSums LanguageModelTask::evaluate(Context& cx, std::int64_t max_batches) {
  EvalSums sums;
  if (!valid_) return sums;
  const std::int64_t all = valid_->batches();
  const std::int64_t count = max_batches > 0 ? std::min(max_batches, all) : all;
  for (std::int64_t i = 0; i < count; ++i) {
    const Batch batch = valid_->batch(i);
    Tape tape(/*recording=*/false);
    const Var mean = cross_entropy(cx, tape, model_.logits(cx, tape, batch.inputs), batch.targets);
    const auto tokens = static_cast<double>(batch.targets_here);
    sums.loss += tape.value(mean).to_host<float>(cx)[0] * tokens;
    sums.tokens += tokens;
  }
  return sums;
}

double LanguageModelTask::epoch() const {
  return static_cast<double>(sampler_.sequences_taken()) /
         static_cast<double>(sampler_.sequences_per_epoch());
}

void LanguageModelTask::visit_state(StateVisitor& v) {
  sampler_.visit_state(v);
}

}  // namespace gradwire
