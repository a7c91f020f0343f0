// What ranks did and when, planned (dry_run.h) or measured, and pictures of it. Times are seconds
// from any common origin. Owns nothing and reads no clock.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "parallel/pipeline/schedule.h"

namespace gradwire {

struct TimelineEvent {
  int rank = 0;
  Action action;
  double begin_s = 0.0;
  double end_s = 0.0;
};

// Anything else that takes a rank time.
struct TimelineSpan {
  int rank = 0;
  std::string name;
  double begin_s = 0.0;
  double end_s = 0.0;
};

// The share of ranks' time in which they do not compute, between the first begin and the last end
// of any computation: 1 - sum(computing) / (ranks * span). Ranks are 0 to the highest that is
// named. 0 for no computation.
double bubble_share(std::span<const TimelineEvent> events);

// What an action is called in a legend: "forward", "weight gradient".
std::string_view kind_of(Act act);

// A drawing: a row per rank, a box per action that computes with the number of its micro-batch, a
// line under the boxes if a message or a reduction takes time, a time axis, a legend and the
// bubble share. A rank's later chunks are paler.
std::string to_svg(std::span<const TimelineEvent> events, std::string_view title);

// For Perfetto or chrome://tracing: a thread per rank, with all actions and `others`, in
// microseconds.
std::string to_chrome_trace(std::span<const TimelineEvent> events,
                            std::span<const TimelineSpan> others = {});

}  // namespace gradwire
