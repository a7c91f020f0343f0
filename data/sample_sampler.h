// Batches of samples to fine-tune on: rows of whole samples, alone or packed, of which only the
// answers are targets. As in data/sampler.h, n ranks with batches of b rows see what one rank with
// n*b rows sees.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/sample_rows.h"
#include "data/sampler.h"

namespace gradwire {

// Rows of a file as tensors; the file must outlive it.
class SampleReader {
 public:
  // Errors: those of SampleRows; kUsage.
  SampleReader(const Context& cx, const TokenFile& file, const SamplerConfig& config, bool packs);

  const SampleRows& rows() const noexcept { return rows_; }
  // A batch of these rows of the plan, config.batch at most; what is left is padding. Errors: kData
  // for a damaged file.
  Batch read(std::span<const std::int64_t> rows);

 private:
  void put(std::int64_t sample, std::int64_t at, std::int64_t place_in_row);
  std::int64_t fill_row(std::int64_t row, std::int64_t at);  // positions used

  Context cx_;
  const TokenFile& file_;
  std::int64_t context_, batch_;
  bool packs_;
  SampleRows rows_;
  std::vector<std::int32_t> ids_, inputs_, targets_, starts_;
  std::vector<std::uint8_t> answers_;
};

// Every epoch takes all rows once, in a random order. All state is how many sequences all ranks
// have taken.
class SampleTrainSampler final : public TrainingBatches {
 public:
  SampleTrainSampler(const Context& cx, const TokenFile& file, const SamplerConfig& config,
                     bool packs);

  Batch next() override;
  std::int64_t sequences_per_epoch() const noexcept override { return reader_.rows().rows(); }
  std::int64_t sequences_taken() const noexcept override { return taken_; }
  std::optional<std::int64_t> targets_after(std::int64_t taken) const override;
  // number "data.sequences_taken".
  void visit_state(StateVisitor& v) override;

 private:
  std::vector<std::int64_t> rows_after(std::int64_t taken) const;

  SamplerConfig config_;
  SampleReader reader_;
  std::int64_t taken_ = 0;
};

// All rows once, in their order.
class SampleValidationSampler final : public ValidationBatches {
 public:
  SampleValidationSampler(const Context& cx, const TokenFile& file, const SamplerConfig& config,
                          bool packs);

  std::int64_t batches() const noexcept override;
  std::int64_t targets_in(std::int64_t i) const noexcept override;
  Batch batch(std::int64_t i) override;

 private:
  std::vector<std::int64_t> rows_of(std::int64_t i) const;

  SamplerConfig config_;
  SampleReader reader_;
};

}  // namespace gradwire
