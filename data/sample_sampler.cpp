#include "data/sample_sampler.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/rng.h"
#include "data/permutation.h"

namespace gradwire {

SampleReader::SampleReader(const Context& cx, const TokenFile& file, const SamplerConfig& config,
                           bool packs)
    : cx_(cx.in(Segment::kData)),
      file_(file),
      context_(config.sequence),
      batch_(config.batch),
      packs_(packs),
      rows_(file, config.sequence, packs) {
  check(config.batch >= 1 && config.ranks >= 1 && config.rank >= 0 && config.rank < config.ranks,
        ErrorKind::kUsage, "samples: batches or ranks that make no sense");
  if (rows_.rows() == 0) throw Error(ErrorKind::kData, fmt::format("{}: no samples", file.path()));
  const auto elements = static_cast<std::size_t>(batch_ * context_);
  inputs_.resize(elements);
  targets_.resize(elements);
  starts_.resize(elements);
}

// The sample's inputs and targets from element `at` on.
void SampleReader::put(std::int64_t sample, std::int64_t at, std::int64_t place_in_row) {
  const std::int64_t begin = rows_.begin_of(sample);
  const auto length = static_cast<std::size_t>(rows_.begin_of(sample + 1) - begin);
  ids_.resize(length);
  answers_.resize(length);
  file_.read(begin, ids_);
  file_.read_answers(begin, answers_);
  for (std::size_t i = 0; i + 1 < length; ++i) {
    const std::size_t to = static_cast<std::size_t>(at) + i;
    inputs_[to] = ids_[i];
    targets_[to] = answers_[i + 1] == 1 ? ids_[i + 1] : kIgnoredTarget;
    starts_[to] = static_cast<std::int32_t>(place_in_row);
  }
}

std::int64_t SampleReader::fill_row(std::int64_t row, std::int64_t at) {
  std::int64_t place = 0;
  for (const std::int64_t sample : rows_.samples_of(row)) {
    put(sample, at + place, place);
    place += rows_.begin_of(sample + 1) - rows_.begin_of(sample) - 1;
  }
  return place;
}

Batch SampleReader::read(std::span<const std::int64_t> rows) {
  std::ranges::fill(inputs_, 0);
  std::ranges::fill(targets_, kIgnoredTarget);
  std::int64_t promised = 0, tokens = 0;
  for (std::int64_t b = 0; b < batch_; ++b) {
    const std::int64_t at = b * context_;
    std::int64_t used = 0;
    if (b < std::ssize(rows)) {
      const std::int64_t row = rows[static_cast<std::size_t>(b)];
      used = fill_row(row, at);
      promised += rows_.answers_in(row);
    }
    tokens += used;
    // Padding is a sample by itself.
    std::fill(starts_.begin() + at + used, starts_.begin() + at + context_,
              static_cast<std::int32_t>(used));
  }
  const std::int64_t found = std::ssize(targets_) - std::ranges::count(targets_, kIgnoredTarget);
  if (found != promised) {
    throw Error(ErrorKind::kData, fmt::format("{}: {} answers found where its counts say {}",
                                              file_.path(), found, promised));
  }
  const Shape shape{batch_, context_};
  Batch batch{Tensor::from(cx_, shape, inputs_), Tensor::from(cx_, shape, targets_), found, tokens};
  if (packs_) batch.sample_starts = Tensor::from(cx_, shape, starts_);
  return batch;
}

SampleTrainSampler::SampleTrainSampler(const Context& cx, const TokenFile& file,
                                       const SamplerConfig& config, bool packs)
    : config_(config), reader_(cx, file, config, packs) {}

std::vector<std::int64_t> SampleTrainSampler::rows_after(std::int64_t taken) const {
  const std::int64_t per_epoch = sequences_per_epoch();
  std::vector<std::int64_t> rows;
  for (std::int64_t b = 0; b < config_.batch; ++b) {
    const std::int64_t k = taken + config_.rank * config_.batch + b;
    const Permutation order(static_cast<std::uint64_t>(per_epoch),
                            derive_seed(derive_seed(config_.seed, "order of the data"),
                                        static_cast<std::uint64_t>(k / per_epoch)));
    rows.push_back(static_cast<std::int64_t>(order(static_cast<std::uint64_t>(k % per_epoch))));
  }
  return rows;
}

std::optional<std::int64_t> SampleTrainSampler::targets_after(std::int64_t taken) const {
  std::int64_t sum = 0;
  for (const std::int64_t row : rows_after(taken))
    sum += reader_.rows().answers_in(row);
  return sum;
}

Batch SampleTrainSampler::next() {
  const std::vector<std::int64_t> rows = rows_after(taken_);
  taken_ += config_.ranks * config_.batch;
  return reader_.read(rows);
}

void SampleTrainSampler::visit_state(StateVisitor& v) {
  v.number("data.sequences_taken", taken_);
}

SampleValidationSampler::SampleValidationSampler(const Context& cx, const TokenFile& file,
                                                 const SamplerConfig& config, bool packs)
    : config_(config), reader_(cx, file, config, packs) {}

std::int64_t SampleValidationSampler::batches() const noexcept {
  const std::int64_t per_batch = config_.ranks * config_.batch;
  return (reader_.rows().rows() + per_batch - 1) / per_batch;
}

std::vector<std::int64_t> SampleValidationSampler::rows_of(std::int64_t i) const {
  const std::int64_t first = (i * config_.ranks + config_.rank) * config_.batch;
  std::vector<std::int64_t> rows;
  for (std::int64_t row = first; row < std::min(first + config_.batch, reader_.rows().rows());
       ++row)
    rows.push_back(row);
  return rows;
}

std::int64_t SampleValidationSampler::targets_in(std::int64_t i) const noexcept {
  std::int64_t sum = 0;
  for (const std::int64_t row : rows_of(i))
    sum += reader_.rows().answers_in(row);
  return sum;
}

Batch SampleValidationSampler::batch(std::int64_t i) {
  if (i < 0 || i >= batches()) {
    throw Error(ErrorKind::kUsage, fmt::format("validation batch {} of {}", i, batches()));
  }
  return reader_.read(rows_of(i));
}

}  // namespace gradwire
