#include "parallel/pipeline/dry_run.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "parallel/pipeline/dry_run_engine.h"
#include "parallel/pipeline/program_check.h"

namespace gradwire {
namespace {

void check_costs(const Costs& costs, int stages) {
  for (const auto* list : {&costs.forward_s, &costs.backward_input_s, &costs.backward_weight_s}) {
    const bool fits = list->size() == 1 || list->size() == static_cast<std::size_t>(stages);
    const bool positive = std::all_of(list->begin(), list->end(), [](double s) { return s >= 0; });
    if (!fits || !positive) {
      throw Error(ErrorKind::kUsage, fmt::format("dry run: {} costs for {} stages{}", list->size(),
                                                 stages, positive ? "" : ", one of them negative"));
    }
  }
  check(costs.message_s >= 0, ErrorKind::kUsage, "dry run: message_s must be >= 0");
}

}  // namespace

DryRun dry_run(const Schedule& s, SendModel model, const Costs& costs) {
  check_costs(costs, s.stages());
  DryRun out;
  const ProgramCheck programs = check_programs(s);
  out.problem = programs.problem;
  if (!out.problem.empty()) return out;
  run_programs(s, model, costs, out);
  if (!out.problem.empty()) {
    DryRun nothing;
    nothing.problem = out.problem;
    return nothing;
  }
  out.peak_live = programs.peak_live;
  out.peak_split = programs.peak_split;
  std::stable_sort(out.timeline.begin(), out.timeline.end(),
                   [](const auto& a, const auto& b) { return a.rank < b.rank; });
  out.bubble_share = bubble_share(out.timeline);
  return out;
}

void check_schedule(const Schedule& s) {
  const std::string problem = dry_run(s, SendModel::kGrouped).problem;
  if (!problem.empty()) throw Error(ErrorKind::kConfig, "schedule: " + problem);
}

Schedule written_schedule(std::string_view text, bool tied) {
  Schedule s = parse_schedule(text);
  const auto has = [&](auto wanted) {
    return std::any_of(s.ranks.begin(), s.ranks.end(), [&](const Program& p) {
      return std::any_of(p.begin(), p.end(), [&](const Action& a) { return wanted(a.act); });
    });
  };
  if (!has([](Act act) { return !is_compute(act); })) s = with_messages(std::move(s), tied);
  check_schedule(s);
  const bool ties = has([](Act act) { return act == Act::kTie; });
  if (ties != (tied && s.ranks.size() > 1)) {
    throw Error(ErrorKind::kConfig,
                ties ? "schedule: 0T, but the model ties no parameter of its first and last stage"
                     : "schedule: the model ties a parameter of its first and last stage; 0T and "
                       "its twin are missing");
  }
  return s;
}

}  // namespace gradwire
