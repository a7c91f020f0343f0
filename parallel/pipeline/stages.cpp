#include "parallel/pipeline/stages.h"

#include <algorithm>
#include <limits>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace gradwire {

std::vector<UnitRange> balanced_cut(std::span<const double> unit_costs, int stages) {
  const auto units = static_cast<int>(unit_costs.size());
  check(stages >= 1 && stages <= units, ErrorKind::kConfig, "stages: more stages than units");
  std::vector<double> sum(unit_costs.size() + 1, 0.0);
  for (std::size_t u = 0; u < unit_costs.size(); ++u)
    sum[u + 1] = sum[u] + unit_costs[u];
  constexpr double kNone = std::numeric_limits<double>::infinity();
  const auto at = [&](int stage, int end) {
    return static_cast<std::size_t>(stage) * sum.size() + static_cast<std::size_t>(end);
  };
  // Of the units before `end` in s stages: the least cost of the costliest stage, and where the
  // last one begins.
  std::vector<std::pair<double, int>> worst((static_cast<std::size_t>(stages) + 1) * sum.size(),
                                            {kNone, 0});
  worst[at(0, 0)] = {0.0, 0};
  for (int s = 1; s <= stages; ++s) {
    for (int end = s; end <= units - (stages - s); ++end) {
      std::pair<double, int>& best = worst[at(s, end)];
      for (int begin = s - 1; begin < end; ++begin) {
        const double own =
            sum[static_cast<std::size_t>(end)] - sum[static_cast<std::size_t>(begin)];
        best = std::min(best, {std::max(worst[at(s - 1, begin)].first, own), begin});
      }
    }
  }
  std::vector<UnitRange> cut(static_cast<std::size_t>(stages));
  for (int s = stages, end = units; s > 0; --s) {
    const int begin = worst[at(s, end)].second;
    cut[static_cast<std::size_t>(s) - 1] = {begin, end};
    end = begin;
  }
  return cut;
}

std::vector<UnitRange> even_cut(int units, int stages) {
  check(stages >= 1 && stages <= units, ErrorKind::kConfig, "stages: more stages than units");
  const int least = units / stages, first_larger = stages - units % stages;
  std::vector<UnitRange> cut;
  for (int s = 0, begin = 0; s < stages; ++s) {
    const int end = begin + least + (s < first_larger ? 0 : 1);
    cut.push_back({begin, end});
    begin = end;
  }
  return cut;
}

std::vector<UnitRange> parse_cut(std::string_view text, int units, int stages) {
  std::istringstream in{std::string(text)};
  std::vector<UnitRange> cut;
  int begin = 0;
  for (int count = 0; in >> count; begin += count) {
    if (count < 1 || count > units) break;
    cut.push_back({begin, begin + count});
  }
  if (!in.eof() || begin != units || static_cast<int>(cut.size()) != stages) {
    throw Error(ErrorKind::kConfig,
                fmt::format("'{}' does not cut {} units into {} stages", text, units, stages));
  }
  return cut;
}

std::string to_text(const std::vector<UnitRange>& cut) {
  std::vector<int> counts;
  for (const UnitRange& r : cut)
    counts.push_back(r.end - r.begin);
  return fmt::format("{}", fmt::join(counts, " "));
}

StageMemory stage_memory(std::span<const UnitCost> costs, UnitRange units) {
  StageMemory m;
  if (units.begin > 0) m.kept = costs[static_cast<std::size_t>(units.begin) - 1].result_bytes;
  m.kept_split = m.kept;
  std::int64_t rerun_before = 0;  // of units that were differentiated earlier
  for (int u = units.begin; u < units.end; ++u) {
    const UnitCost& unit = costs[static_cast<std::size_t>(u)];
    m.kept += unit.bytes;
    m.backward = std::max(m.backward, m.kept + unit.working_bytes);
    m.kept_split += unit.bytes + unit.rerun_bytes;
  }
  for (int u = units.end - 1; u >= units.begin; --u) {
    const UnitCost& unit = costs[static_cast<std::size_t>(u)];
    m.backward_input = std::max(m.backward_input, m.kept + rerun_before + unit.working_bytes);
    rerun_before += unit.rerun_bytes;
  }
  return m;
}

std::vector<UnitRange> Stages::of_rank(int rank) const {
  std::vector<UnitRange> here;
  for (int s = 0; s < schedule.stages(); ++s)
    if (schedule.rank_of(s) == rank) here.push_back(cut[static_cast<std::size_t>(s)]);
  return here;
}

}  // namespace gradwire
