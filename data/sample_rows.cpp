#include "data/sample_rows.h"

#include <algorithm>
#include <map>
#include <numeric>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

SampleRows::SampleRows(const TokenFile& file, std::int64_t context, bool packs)
    : context_(context), offsets_(file.offsets()) {
  check(file.has_answers(), ErrorKind::kUsage, "samples: a token file without answers");
  answers_ = file.answer_counts();
  for (std::int64_t i = 0; i < file.documents(); ++i) {
    if (positions_of(i) <= context) continue;
    throw Error(ErrorKind::kData,
                fmt::format("{}: sample {} has {} tokens; a context of {} has "
                            "room for {}",
                            file.path(), i, positions_of(i) + 1, context, context + 1));
  }
  if (packs) {
    pack();
  } else {
    for (std::int64_t i = 0; i < file.documents(); ++i)
      rows_.push_back({i});
  }
}

void SampleRows::pack() {
  std::vector<std::int64_t> order(answers_.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::ranges::stable_sort(
      order, [this](std::int64_t a, std::int64_t b) { return positions_of(a) > positions_of(b); });
  std::map<std::int64_t, std::vector<std::size_t>> rows_by_room;
  for (const std::int64_t sample : order) {
    const auto fit = rows_by_room.lower_bound(positions_of(sample));
    std::int64_t room = context_;
    std::size_t row = rows_.size();
    if (fit == rows_by_room.end()) {
      rows_.emplace_back();
    } else {
      room = fit->first;
      row = fit->second.back();
      fit->second.pop_back();
      if (fit->second.empty()) rows_by_room.erase(fit);
    }
    rows_[row].push_back(sample);
    rows_by_room[room - positions_of(sample)].push_back(row);
  }
  for (std::vector<std::int64_t>& row : rows_)
    std::ranges::sort(row);
  std::ranges::sort(rows_);
}

std::int64_t SampleRows::answers_in(std::int64_t row) const {
  std::int64_t sum = 0;
  for (const std::int64_t sample : samples_of(row))
    sum += answers_[static_cast<std::size_t>(sample)];
  return sum;
}

double SampleRows::padding_share() const {
  if (rows() == 0) return 0.0;
  const auto samples = static_cast<std::int64_t>(answers_.size());
  const std::int64_t used = begin_of(samples) - samples;
  return 1.0 -
         static_cast<double>(used) / (static_cast<double>(rows()) * static_cast<double>(context_));
}

}  // namespace gradwire
