#include "data/sampler.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/rng.h"
#include "data/permutation.h"

namespace gradwire {
namespace {

void check_config(const SamplerConfig& c) {
  if (c.sequence < 1 || c.batch < 1 || c.ranks < 1 || c.rank < 0 || c.rank >= c.ranks) {
    throw Error(ErrorKind::kUsage, fmt::format("sampler: {} rows of {} tokens, rank {} of {}",
                                               c.batch, c.sequence, c.rank, c.ranks));
  }
}

void check_length(const TokenFile& file, std::int64_t least, const char* remedy) {
  if (file.tokens() < least) {
    throw Error(ErrorKind::kData, fmt::format("{}: {} tokens; at least {} are needed: {}",
                                              file.path(), file.tokens(), least, remedy));
  }
}

std::size_t elements(const SamplerConfig& c) {
  return static_cast<std::size_t>(c.batch * c.sequence);
}

}  // namespace

TrainSampler::TrainSampler(const Context& cx, const TokenFile& file, const SamplerConfig& config)
    : cx_(cx.in(Segment::kData)), file_(file), config_(config) {
  check_config(config);
  check_length(file, config.sequence + 1, "lower data.context, or use more text");
  stretches_ = config.own_stretch ? config.ranks : 1;
  const std::int64_t stretch = config.own_stretch ? config.rank : 0;
  first_ = file.tokens() * stretch / stretches_;
  tokens_ = file.tokens() * (stretch + 1) / stretches_ - first_;
  // Ranks must agree on the length of an epoch, and their stretches differ by a token at most.
  const std::int64_t shortest = file.tokens() / stretches_;
  if (shortest < config.sequence + 1) {
    throw Error(ErrorKind::kData,
                fmt::format("{}: {} tokens are too few for {} ranks with stretches "
                            "of their own and sequences of {}: lower data.context, or use more "
                            "text",
                            file.path(), file.tokens(), stretches_, config.sequence));
  }
  // One sequence less than fits, so that the first may begin anywhere below T.
  per_epoch_ = std::max<std::int64_t>(1, (shortest - config.sequence) / config.sequence);
  row_.resize(static_cast<std::size_t>(config.sequence) + 1);
  inputs_.resize(elements(config));
  targets_.resize(elements(config));
}

std::int64_t TrainSampler::begin_of(std::int64_t k) const {
  const std::int64_t last_offset =
      std::min(config_.sequence - 1, tokens_ - 1 - per_epoch_ * config_.sequence);
  const std::uint64_t seed = derive_seed(derive_seed(config_.seed, "order of the data"),
                                         static_cast<std::uint64_t>(k / per_epoch_));
  const auto choices = static_cast<std::uint64_t>(last_offset + 1);
  const auto offset = static_cast<std::int64_t>(derive_seed(seed, "offset") % choices);
  const Permutation order(static_cast<std::uint64_t>(per_epoch_), seed);
  const auto sequence =
      static_cast<std::int64_t>(order(static_cast<std::uint64_t>(k % per_epoch_)));
  return first_ + offset + sequence * config_.sequence;
}

Batch TrainSampler::next() {
  const std::int64_t first =
      config_.own_stretch ? taken_ / config_.ranks : taken_ + config_.rank * config_.batch;
  for (std::int64_t b = 0; b < config_.batch; ++b) {
    file_.read(begin_of(first + b), row_);
    std::copy(row_.begin(), row_.end() - 1, inputs_.begin() + b * config_.sequence);
    std::copy(row_.begin() + 1, row_.end(), targets_.begin() + b * config_.sequence);
  }
  taken_ += config_.ranks * config_.batch;
  const Shape shape{config_.batch, config_.sequence};
  return {Tensor::from(cx_, shape, inputs_), Tensor::from(cx_, shape, targets_), shape.numel(),
          shape.numel()};
}

void TrainSampler::visit_state(StateVisitor& v) {
  v.number("data.sequences_taken", taken_);
}

ValidationSampler::ValidationSampler(const Context& cx, const TokenFile& file,
                                     const SamplerConfig& config)
    : cx_(cx.in(Segment::kData)), file_(file), config_(config) {
  check_config(config);
  check_length(file, 2, "raise data.validation_share, or use more text");
  row_.reserve(static_cast<std::size_t>(config.sequence) + 1);
  inputs_.resize(elements(config));
  targets_.resize(elements(config));
}

std::int64_t ValidationSampler::batches() const noexcept {
  const std::int64_t per_batch = config_.ranks * config_.batch * config_.sequence;
  return (file_.tokens() - 1 + per_batch - 1) / per_batch;
}

std::int64_t ValidationSampler::targets_in(std::int64_t i) const noexcept {
  const std::int64_t rows = config_.batch * config_.sequence;
  const std::int64_t begin = (i * config_.ranks + config_.rank) * rows;
  return std::clamp(file_.tokens() - 1 - begin, std::int64_t{0}, rows);
}

Batch ValidationSampler::batch(std::int64_t i) {
  if (i < 0 || i >= batches()) {
    throw Error(ErrorKind::kUsage, fmt::format("validation batch {} of {}", i, batches()));
  }
  std::fill(inputs_.begin(), inputs_.end(), 0);
  std::fill(targets_.begin(), targets_.end(), kIgnoredTarget);
  std::int64_t counted = 0;
  const std::int64_t first = (i * config_.ranks + config_.rank) * config_.batch;
  for (std::int64_t b = 0; b < config_.batch; ++b) {
    const std::int64_t begin = (first + b) * config_.sequence;
    const std::int64_t targets = std::min(config_.sequence, file_.tokens() - 1 - begin);
    if (targets <= 0) break;
    row_.resize(static_cast<std::size_t>(targets) + 1);
    file_.read(begin, row_);
    std::copy(row_.begin(), row_.end() - 1, inputs_.begin() + b * config_.sequence);
    std::copy(row_.begin() + 1, row_.end(), targets_.begin() + b * config_.sequence);
    counted += targets;
  }
  const Shape shape{config_.batch, config_.sequence};
  return {Tensor::from(cx_, shape, inputs_), Tensor::from(cx_, shape, targets_), counted, counted};
}

}  // namespace gradwire
