#include "train/trace/trace_file.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/file.h"
#include "core/printable.h"
#include "train/checked_json.h"

namespace gradwire {
namespace {

using nlohmann::json;

constexpr int kFormat = 1;
constexpr std::size_t kMostLineBytes = std::size_t{16} << 20;
constexpr int kMostRanks = 1 << 20;

[[noreturn]] void damaged(const std::string& where, const std::string& what) {
  throw Error(ErrorKind::kData, fmt::format("{}: {}", printable_word(where), printable_word(what)));
}

TraceHead head_of(const json& line) {
  if (line.at("trace") != kFormat) {
    throw Error(ErrorKind::kData,
                fmt::format("format {}, this program reads {}", line.at("trace").dump(), kFormat));
  }
  TraceHead head;
  head.ranks = static_cast<int>(integer_in(line.at("ranks"), 1, kMostRanks));
  head.rank = static_cast<int>(integer_in(line.at("rank"), 0, head.ranks - 1));
  head.host = line.at("host");
  head.schedule = parse_schedule(line.at("schedule").get<std::string>());
  head.place =
      static_cast<int>(integer_in(line.at("place"), 0, std::ssize(head.schedule.ranks) - 1));
  return head;
}

// Seconds on a steady clock, for many thousands of years.
double seconds_from(const json& value) {
  constexpr double kMost = 1e12;
  const double seconds = value.get<double>();
  if (!(std::abs(seconds) <= kMost)) throw Error(ErrorKind::kData, "a time out of range");
  return seconds;
}

TraceStep step_of(const json& line, const TraceHead& head) {
  TraceStep step;
  step.step = integer_in(line.at("step"), 0, std::numeric_limits<std::int64_t>::max());
  step.clock_error_s = seconds_from(line.at("clock_error_s"));
  const Program& program = head.schedule.program(head.place);
  const json& actions = line.at("actions");
  if (actions.size() != program.size()) {
    throw Error(ErrorKind::kData,
                fmt::format("{} actions, the schedule has {}", actions.size(), program.size()));
  }
  for (std::size_t i = 0; i < program.size(); ++i) {
    if (actions[i].at(0) != to_text(program[i])) {
      throw Error(ErrorKind::kData, fmt::format("action {} is {}, the schedule has {}", i,
                                                actions[i].at(0).dump(), to_text(program[i])));
    }
    step.actions.push_back(
        {head.rank, program[i], seconds_from(actions[i].at(1)), seconds_from(actions[i].at(2))});
  }
  for (const json& part : line.at("parts"))
    step.parts.push_back(
        {head.rank, part.at(0), seconds_from(part.at(1)), seconds_from(part.at(2))});
  return step;
}

std::string listing(const std::vector<std::int64_t>& steps) {
  return steps.empty() ? "none" : fmt::format("{}", fmt::join(steps, ", "));
}

// Mean lengths of the actions of one kind, by stage; 0 if there are none.
std::vector<double> mean_lengths(const std::vector<TimelineEvent>& events, Act act, int stages) {
  std::vector<double> means(static_cast<std::size_t>(stages));
  std::vector<int> counts(means.size());
  for (const TimelineEvent& e : events) {
    if (e.action.act != act) continue;
    const auto stage = static_cast<std::size_t>(e.action.stage);
    means.at(stage) += e.end_s - e.begin_s;
    ++counts.at(stage);
  }
  for (std::size_t s = 0; s < means.size(); ++s)
    if (counts[s] > 0) means[s] /= counts[s];
  return means;
}

}  // namespace

std::string to_line(const TraceHead& head) {
  const json line{{"trace", kFormat},    {"rank", head.rank}, {"ranks", head.ranks},
                  {"place", head.place}, {"host", head.host}, {"schedule", to_text(head.schedule)}};
  return line.dump() + "\n";
}

std::string to_line(const TraceStep& step) {
  json actions = json::array(), parts = json::array();
  for (const TimelineEvent& e : step.actions)
    actions.push_back(json::array({to_text(e.action), e.begin_s, e.end_s}));
  for (const TimelineSpan& p : step.parts)
    parts.push_back(json::array({p.name, p.begin_s, p.end_s}));
  const json line{{"step", step.step},
                  {"clock_error_s", step.clock_error_s},
                  {"actions", actions},
                  {"parts", parts}};
  return line.dump() + "\n";
}

std::string trace_path(const std::string& run_dir, int rank) {
  return fmt::format("{}/trace/rank-{:05}.jsonl", run_dir, rank);
}

RankTrace read_rank_trace(const std::string& path) {
  std::ifstream in(path);
  if (!in) damaged(path, "no such file, or not readable");
  RankTrace trace;
  std::string text;
  for (int number = 1; next_line(in, text, kMostLineBytes) && !in.eof(); ++number) {
    try {
      check(text.size() <= kMostLineBytes, ErrorKind::kData, "the line is too long");
      const json line = parse_checked(text);
      if (number == 1) {
        trace.head = head_of(line);
      } else {
        TraceStep step = step_of(line, trace.head);
        trace.steps[step.step] = std::move(step);
      }
    } catch (const std::exception& e) {  // of the parser, or our own
      damaged(fmt::format("{}:{}", path, number), e.what());
    }
  }
  if (trace.head.schedule.ranks.empty()) damaged(path, "empty");
  return trace;
}

std::vector<RankTrace> read_traces(const std::string& run_dir) {
  if (!std::filesystem::exists(trace_path(run_dir, 0))) {
    damaged(trace_path(run_dir, 0), "missing: a run with log.trace_every in its recipe writes it");
  }
  std::vector<RankTrace> traces;
  int ranks = 1;
  for (int r = 0; r < ranks; ++r) {
    const std::string path = trace_path(run_dir, r);
    if (!std::filesystem::exists(path)) {
      damaged(path, fmt::format("missing: the run has {} ranks; those of other hosts may have "
                                "written elsewhere",
                                ranks));
    }
    traces.push_back(read_rank_trace(path));
    ranks = traces.front().head.ranks;
    const TraceHead& head = traces.back().head;
    if (head.rank != r || head.ranks != ranks || head.schedule != traces.front().head.schedule) {
      damaged(path, fmt::format("of another run than {}", trace_path(run_dir, 0)));
    }
  }
  return traces;
}

StepTrace step_of(const std::vector<RankTrace>& traces, std::optional<std::int64_t> step) {
  std::vector<std::int64_t> common;
  for (const auto& [number, first] : traces.front().steps) {
    const bool all = std::ranges::all_of(
        traces, [n = number](const RankTrace& t) { return t.steps.contains(n); });
    if (all) common.push_back(number);
  }
  if (common.empty()) throw Error(ErrorKind::kData, "trace: no step that all ranks have");
  const std::int64_t wanted = step.value_or(common.back());
  if (std::ranges::find(common, wanted) == common.end()) {
    throw Error(ErrorKind::kData,
                fmt::format("trace: step {} is not there; those that all ranks have: {}", wanted,
                            listing(common)));
  }
  StepTrace merged{traces.front().head.schedule, {}};
  merged.all.step = wanted;
  for (const RankTrace& t : traces) {
    const TraceStep& its = t.steps.at(wanted);
    merged.all.clock_error_s = std::max(merged.all.clock_error_s, its.clock_error_s);
    merged.all.actions.insert(merged.all.actions.end(), its.actions.begin(), its.actions.end());
    merged.all.parts.insert(merged.all.parts.end(), its.parts.begin(), its.parts.end());
  }
  return merged;
}

Costs measured_costs(const Schedule& schedule, const std::vector<TimelineEvent>& events) {
  const auto means = [&](Act act) { return mean_lengths(events, act, schedule.stages()); };
  Costs costs{means(Act::kForward), means(Act::kBackward), means(Act::kBackwardWeight), 0.0};
  const std::vector<double> input = means(Act::kBackwardInput);
  for (std::size_t s = 0; s < input.size(); ++s)
    costs.backward_input_s[s] += input[s];
  return costs;
}

}  // namespace gradwire
