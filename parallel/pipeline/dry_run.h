// Runs a schedule without a tensor: proves that it computes each micro-batch once and in order, and
// that it ends, and tells what it costs in time and memory. The proof holds for one way of sending;
// a schedule is safe on a transport whose way of sending it has passed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/timeline.h"

namespace gradwire {

enum class SendModel : std::uint8_t {
  kEager,       // no message waits: sends are buffered, what uses a received one waits for it
  kRendezvous,  // a send and its receive wait for each other, one message at a time
  kGrouped,     // adjacent messages begin together, and all end when the last of them has met
};

// Seconds, for each stage, or one for all of them. A full backward takes both of its halves.
struct Costs {
  std::vector<double> forward_s = {1.0};
  std::vector<double> backward_input_s = {1.0};
  std::vector<double> backward_weight_s = {1.0};
  double message_s = 0.0;  // from the moment when both sides may begin; occupies neither
};

struct DryRun {
  std::string problem;  // empty: valid; else the first found, and the rest holds nothing
  // Per rank, by order of the program: stages times micro-batches whose activations are held, from
  // the forward to the backward, or to the weight gradient if backward is split ...
  std::vector<int> peak_live;
  // ... and those of them whose input gradient is done and whose weight gradient is not: gradients
  // of outputs are held as well.
  std::vector<int> peak_split;
  std::vector<double> busy_s;  // per rank: computing
  double makespan_s = 0.0;
  double bubble_share = 0.0;            // 1 - sum(busy) / (ranks * makespan)
  std::vector<TimelineEvent> timeline;  // rank by rank; a message lasts while it waits
};

// A valid schedule has, for each stage and micro-batch, one forward and one backward (or an input
// and then a weight gradient); uses only what the rank has computed or received; receives what is
// sent, in order; reduces each stage once, after its last gradient of weights (and after kTie,
// which the first and the last stage have or neither has); and does not deadlock. Errors: kUsage
// for costs that are neither one nor one per stage, or negative.
DryRun dry_run(const Schedule& s, SendModel model, const Costs& costs = {});

// Errors: kConfig with the problem. For schedules that people write: adjacent messages are grouped.
void check_schedule(const Schedule& s);

// A schedule out of a file: parsed, given its messages if it has only computing, and checked.
// `tied` as in with_messages. Errors: kConfig.
Schedule written_schedule(std::string_view text, bool tied);

}  // namespace gradwire
