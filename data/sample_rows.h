// Which samples of a token file lie together in a row of the model's context.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/token_file.h"

namespace gradwire {

class SampleRows {
 public:
  // A sample of n tokens takes n - 1 of a row's `context` positions: its last token is only
  // predicted. With `packs`, samples fill rows by best fit, the longest first; else each has a row
  // of its own. Rows are in the order of their first samples, the same for the same file. Errors:
  // kUsage for a file without answers; kData for a sample that is longer than a row.
  SampleRows(const TokenFile& file, std::int64_t context, bool packs);

  std::int64_t rows() const noexcept { return static_cast<std::int64_t>(rows_.size()); }
  std::span<const std::int64_t> samples_of(std::int64_t row) const {
    return rows_[static_cast<std::size_t>(row)];
  }
  std::int64_t answers_in(std::int64_t row) const;
  // The end of the sample is the beginning of the next.
  std::int64_t begin_of(std::int64_t sample) const {
    return offsets_[static_cast<std::size_t>(sample)];
  }
  // Share of all rows' positions that are of no sample.
  double padding_share() const;

 private:
  std::int64_t positions_of(std::int64_t sample) const {
    return begin_of(sample + 1) - begin_of(sample) - 1;
  }
  void pack();

  std::int64_t context_;
  std::vector<std::int64_t> offsets_, answers_;  // by sample
  std::vector<std::vector<std::int64_t>> rows_;
};

}  // namespace gradwire
