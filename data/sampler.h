// Batches for a language model out of a token file. Each rank makes the same plan and reads its own
// rows of it, so that n ranks with batches of b rows see what one rank with n*b rows sees. Tensors
// of a batch stay the caller's for as long as it holds them; their memory is reused after that. The
// token file must outlive the sampler.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/state.h"
#include "data/token_file.h"

namespace gradwire {

// Target of a position that counts for nothing; the default of core/ops/cross_entropy.
inline constexpr std::int32_t kIgnoredTarget = -100;

struct SamplerConfig {
  std::int64_t sequence = 256;  // T
  std::int64_t batch = 8;       // B, rows of this rank
  std::uint64_t seed = 1;
  int rank = 0;
  int ranks = 1;
  // Training only: every rank draws from its own stretch of the stream, the r-th of `ranks`,
  // instead of all from all of it. What ranks see then differs, as it does if data cannot be
  // moved.
  bool own_stretch = false;
};

struct Batch {
  Tensor inputs;                  // i32 [B, T]
  Tensor targets;                 // i32 [B, T]: inputs, one token later
  std::int64_t targets_here = 0;  // of this rank's targets, those that count
  std::int64_t tokens = 0;        // of this rank's inputs, those that are no padding
  // i32 [B, T], for each input where its sample begins in its row (core/ops/attention); empty if a
  // row is one sample.
  Tensor sample_starts{};
};

// Batches to train on, one after the other.
class TrainingBatches : public Stateful {
 public:
  virtual Batch next() = 0;
  // Of all ranks together.
  virtual std::int64_t sequences_per_epoch() const noexcept = 0;
  virtual std::int64_t sequences_taken() const noexcept = 0;
  // Batch::targets_here of the batch that next() gives when so many sequences have been taken;
  // nothing if it is the same for all batches.
  virtual std::optional<std::int64_t> targets_after(std::int64_t /*taken*/) const { return {}; }
};

// Batches to evaluate on, by number.
class ValidationBatches {
 public:
  virtual ~ValidationBatches() = default;
  // The same for all ranks.
  virtual std::int64_t batches() const noexcept = 0;
  // Of batch i, this rank's targets: Batch::targets_here, without reading them.
  virtual std::int64_t targets_in(std::int64_t i) const noexcept = 0;
  // Batch i of [0, batches()), this rank's rows. Errors: kUsage.
  virtual Batch batch(std::int64_t i) = 0;
};

// Training: every epoch cuts the stream (or the rank's stretch of it) into sequences from a random
// place on and takes them in a random order. All state is how many sequences all ranks have taken,
// so that a run resumes exactly, with any number of ranks or rows.
class TrainSampler final : public TrainingBatches {
 public:
  // Errors: kUsage; kData if the file has fewer than T + 1 tokens.
  TrainSampler(const Context& cx, const TokenFile& file, const SamplerConfig& config);

  // This rank's rows [rank*B, (rank+1)*B) of the next ranks*B sequences, or the next B of its own
  // stretch.
  Batch next() override;

  std::int64_t sequences_per_epoch() const noexcept override { return per_epoch_ * stretches_; }
  std::int64_t sequences_taken() const noexcept override { return taken_; }
  std::int64_t epoch() const noexcept { return taken_ / sequences_per_epoch(); }
  // First token of the k-th sequence of the run; where ranks have own stretches, of this rank's.
  std::int64_t begin_of(std::int64_t k) const;
  // number "data.sequences_taken".
  void visit_state(StateVisitor& v) override;

 private:
  Context cx_;
  const TokenFile& file_;
  SamplerConfig config_;
  std::int64_t stretches_ = 1;
  std::int64_t first_ = 0, tokens_ = 0;  // of the stream or stretch
  std::int64_t per_epoch_ = 0;           // sequences of it
  std::int64_t taken_ = 0;
  std::vector<std::int32_t> row_, inputs_, targets_;
};

// Validation: every token but the first is a target exactly once, in the order of the stream; rows
// past its end have only ignored targets. All ranks get the same number of batches.
class ValidationSampler final : public ValidationBatches {
 public:
  // Errors: kUsage; kData if the file has fewer than 2 tokens.
  ValidationSampler(const Context& cx, const TokenFile& file, const SamplerConfig& config);

  std::int64_t batches() const noexcept override;
  std::int64_t targets_in(std::int64_t i) const noexcept override;
  Batch batch(std::int64_t i) override;

 private:
  Context cx_;
  const TokenFile& file_;
  SamplerConfig config_;
  std::vector<std::int32_t> row_, inputs_, targets_;
};

}  // namespace gradwire
