#include "parallel/pipeline/timeline.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace gradwire {

std::string_view kind_of(Act act) {
  switch (act) {
    case Act::kForward: return "forward";
    case Act::kBackward: return "backward";
    case Act::kBackwardInput: return "input gradient";
    case Act::kBackwardWeight: return "weight gradient";
    case Act::kSendResult:
    case Act::kSendGradient: return "send";
    case Act::kReceiveResult:
    case Act::kReceiveGradient: return "receive";
    case Act::kReduce: return "reduce";
    case Act::kTie: return "tie";
  }
  return "?";
}

double bubble_share(std::span<const TimelineEvent> events) {
  double begin_s = std::numeric_limits<double>::infinity(), end_s = -begin_s, busy_s = 0.0;
  int ranks = 0;
  for (const TimelineEvent& e : events) {
    ranks = std::max(ranks, e.rank + 1);
    if (!is_compute(e.action.act)) continue;
    begin_s = std::min(begin_s, e.begin_s);
    end_s = std::max(end_s, e.end_s);
    busy_s += e.end_s - e.begin_s;
  }
  return end_s > begin_s ? 1 - busy_s / (ranks * (end_s - begin_s)) : 0.0;
}

std::string to_chrome_trace(std::span<const TimelineEvent> events,
                            std::span<const TimelineSpan> others) {
  using nlohmann::json;
  json list = json::array();
  int ranks = 0;
  for (const TimelineEvent& e : events)
    ranks = std::max(ranks, e.rank + 1);
  for (int r = 0; r < ranks; ++r) {
    list.push_back({{"ph", "M"},
                    {"name", "thread_name"},
                    {"pid", 0},
                    {"tid", r},
                    {"args", {{"name", fmt::format("rank {}", r)}}}});
  }
  for (const TimelineEvent& e : events) {
    list.push_back({{"ph", "X"},
                    {"name", to_text(e.action)},
                    {"cat", kind_of(e.action.act)},
                    {"pid", 0},
                    {"tid", e.rank},
                    {"ts", e.begin_s * 1e6},
                    {"dur", (e.end_s - e.begin_s) * 1e6},
                    {"args", {{"stage", e.action.stage}, {"micro", e.action.micro}}}});
  }
  for (const TimelineSpan& o : others) {
    list.push_back({{"ph", "X"},
                    {"name", o.name},
                    {"cat", "step"},
                    {"pid", 0},
                    {"tid", o.rank},
                    {"ts", o.begin_s * 1e6},
                    {"dur", (o.end_s - o.begin_s) * 1e6}});
  }
  return json{{"displayTimeUnit", "ms"}, {"traceEvents", list}}.dump();
}

}  // namespace gradwire
