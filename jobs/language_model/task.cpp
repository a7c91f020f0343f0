#include "jobs/language_model/task.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/cross_entropy/cross_entropy.h"
#include "data/sample_sampler.h"
#include "train/evaluation.h"

namespace gradwire {
namespace {

void check_vocabulary(const TokenFile& file, const DecoderLm& model) {
  // Models of other programs may have rows beyond the vocabulary.
  if (file.vocabulary() <= model.config().vocab) return;
  throw Error(ErrorKind::kData, fmt::format("{}: vocabulary of {}, but the model has {}",
                                            file.path(), file.vocabulary(), model.config().vocab));
}

Tensor random_ids(Context& cx, const Shape& shape, std::int64_t vocab, std::uint64_t seed) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(shape.numel()));
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int32_t>(random_word(seed, i) % static_cast<std::uint32_t>(vocab));
  return Tensor::from(cx, shape, ids);
}

Batch random_batch(Context& cx, std::int64_t vocab, const SamplerConfig& config) {
  const Shape shape{config.batch, config.sequence};
  return {random_ids(cx, shape, vocab, 1), random_ids(cx, shape, vocab, 2), shape.numel(),
          shape.numel()};
}

}  // namespace

LanguageModelTask::LanguageModelTask(Context& cx, std::unique_ptr<DecoderLm> model,
                                     std::vector<UnitRange> stages, const TaskData& data)
    : LanguageModelTask(cx, std::move(model), nullptr, std::move(stages), data) {}

LanguageModelTask::LanguageModelTask(Context& cx, std::unique_ptr<DecoderLm> model,
                                     std::unique_ptr<AdapterSet> adapters,
                                     std::vector<UnitRange> stages, const TaskData& data)
    : owned_(std::move(model)),
      model_(*owned_),
      adapters_(std::move(adapters)),
      stages_(std::move(stages)),
      config_(data.sampler),
      training_(*this, [this](std::int64_t) { return next_training_batch(); }),
      validation_(
          *this, [this](std::int64_t i) { return valid_->batch(i); },
          [this](std::int64_t i) { return valid_->targets_in(i); }) {
  if (data.random) random_batch_ = random_batch(cx, model_.config().vocab, config_);
  read_from(cx, data);
}

void LanguageModelTask::read_from(Context& cx, const TaskData& data) {
  if (data.train != nullptr) {
    check_vocabulary(*data.train, model_);
    if (data.train->has_answers()) {
      sampler_ = std::make_unique<SampleTrainSampler>(cx, *data.train, config_, data.packs);
      training_.count_targets([this](std::int64_t micro) {
        const std::int64_t taken = taken_before_step_ + micro * config_.ranks * config_.batch;
        return sampler_->targets_after(taken).value();
      });
    } else {
      sampler_ = std::make_unique<TrainSampler>(cx, *data.train, config_);
    }
  }
  if (data.valid != nullptr) {
    check_vocabulary(*data.valid, model_);
    if (data.valid->has_answers()) {
      valid_ = std::make_unique<SampleValidationSampler>(cx, *data.valid, config_, data.packs);
    } else {
      valid_ = std::make_unique<ValidationSampler>(cx, *data.valid, config_);
    }
  }
}

ParameterSet LanguageModelTask::parameters() {
  ParameterSet all = parameters_of(model_);
  if (!adapters_) return all;
  const ParameterSet attached = parameters_of(*adapters_);
  all.insert(all.end(), attached.begin(), attached.end());
  return all;
}

Batch LanguageModelTask::next_training_batch() {
  if (sampler_) return sampler_->next();
  check(static_cast<bool>(random_batch_.inputs), ErrorKind::kInternal,
        "language model: no data to train on");
  return random_batch_;
}

void LanguageModelTask::Stages::begin_at(std::int64_t first) {
  first_ = first;
  batches_.clear();
}

const Batch& LanguageModelTask::Stages::batch(int micro) {
  const auto start = std::chrono::steady_clock::now();
  while (batches_.size() <= static_cast<std::size_t>(micro))
    batches_.push_back(draw_(first_ + std::ssize(batches_)));
  task_.data_seconds_ +=
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return batches_[static_cast<std::size_t>(micro)];
}

std::vector<Var> LanguageModelTask::Stages::forward(Context& cx, Tape& tape, int stage, int micro,
                                                    std::span<const Var> in) {
  const Batch& batch = this->batch(micro);
  Context own = cx;
  own.rng = Rng{derive_seed(cx.rng.seed, static_cast<std::uint64_t>(micro)), 0};
  const UnitRange units = task_.stages_[static_cast<std::size_t>(stage)];
  const Var out =
      task_.model_.forward(own, tape, units, batch.inputs, in.empty() ? Var{} : in.front(), nullptr,
                           task_.adapted(), batch.sample_starts);
  const bool last = units.end == unit_count(task_.model_.config());
  return {last ? cross_entropy(own, tape, out, batch.targets) : out};
}

std::vector<TensorSpec> LanguageModelTask::Stages::activations(int, int) const {
  const DecoderConfig& config = task_.model_.config();
  return {{{task_.config_.batch, task_.config_.sequence, config.width}, config.compute}};
}

double LanguageModelTask::Stages::weight(int micro) const {
  return targets_ ? static_cast<double>(targets_(first_ + micro)) : 1.0;
}

std::optional<double> LanguageModelTask::Stages::total_weight(int micros) const {
  return targets_ ? std::nullopt : std::optional<double>(micros);
}

std::int64_t LanguageModelTask::Stages::tokens() const {
  std::int64_t sum = 0;
  for (const Batch& batch : batches_)
    sum += batch.tokens;
  return sum;
}

StageModel& LanguageModelTask::next_step() {
  if (sampler_) taken_before_step_ = sampler_->sequences_taken();
  training_.begin_at(0);
  return training_;
}

Counters LanguageModelTask::counters() const {
  return {{"tokens", "tok", static_cast<double>(training_.tokens())}};
}

std::vector<Metric> LanguageModelTask::metrics() const {
  return {{.name = kLoss,
           .counted = "tokens",
           .derived_name = "perplexity",
           .derived = [](double loss) { return std::exp(loss); }}};
}

std::vector<Sum> LanguageModelTask::evaluate(Context& cx, Pipeline& pipeline, Communicator& world,
                                             std::int64_t max_batches) {
  const std::int64_t all = valid_ ? valid_->batches() : 0;
  const std::int64_t batches = max_batches > 0 ? std::min(max_batches, all) : all;
  return evaluate_losses(cx, pipeline, world, kLoss, batches,
                         [this](std::int64_t first) -> StageModel& {
                           validation_.begin_at(first);
                           return validation_;
                         });
}

double LanguageModelTask::epoch() const {
  if (!sampler_) return 0.0;
  return static_cast<double>(sampler_->sequences_taken()) /
         static_cast<double>(sampler_->sequences_per_epoch());
}

void LanguageModelTask::visit_state(StateVisitor& v) {
  if (sampler_) sampler_->visit_state(v);
}

}  // namespace gradwire
