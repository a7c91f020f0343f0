// What to say when a run stands still: a table of all ranks, and whom the others wait for. Works on
// copies of the status boards; reads nothing itself.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "train/stall/status_board.h"

namespace gradwire {

// A rank as another one found it. Hosts have clocks of their own: times in a status are compared
// with each other alone, and with nothing that another clock says.
struct SeenRank {
  std::optional<RankStatus> status;  // nothing: its board cannot be seen from here
  std::int64_t quiet_ms = 0;         // since its last heartbeat, by the observer's clock
  // Of /proc/PID/stat: 'R', 'S', 'T' (stopped), ...; kGone: no such process; kUnknown: on another
  // host.
  char process = kUnknown;
  static constexpr char kGone = '-';
  static constexpr char kUnknown = '?';
};

struct StallView {
  std::span<const SeenRank> ranks;      // of the world, in order
  std::int64_t silent_after_ms = 5000;  // without a heartbeat, a process counts as stopped
};

// "backward of micro-batch 3 in stage 1"
std::string describe(const Action& action);

// The rank that holds up the others: one whose process is gone, stopped or silent; else, of those
// that wait for nobody, the one that has been at the same thing for longest. Nothing if all
// wait.
std::optional<int> find_culprit(const StallView& view);

// For each rank host, step, action and for how long, last collective, and whom it waits for in
// which call; then a sentence about the culprit.
std::string stall_report(const StallView& view);

}  // namespace gradwire
