// A pipeline schedule as data: for each rank the list of what it does in a step, in order. Builders
// give the computing, with_messages() adds what travels between ranks, dry_run() proves and times
// it without a tensor, and one executor runs them all. Stages are numbered from the input on; with
// several chunks per rank, rank r holds the stages r, r + ranks, r + 2 ranks, ...
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gradwire {

enum class Act : std::uint8_t {
  kForward,          // 0F3: stage 0 of micro-batch 3
  kBackward,         // 0B3: all of its backward
  kBackwardInput,    // 0I3: only the gradient of its input,
  kBackwardWeight,   // 0W3: and only those of its weights
  kSendResult,       // 0F3>: what 0F3 gave, to the next stage
  kReceiveResult,    // >0F3
  kSendGradient,     // 1B3>: what 1B3 or 1I3 gave, to the stage before
  kReceiveGradient,  // >1B3
  kReduce,           // 0R: the gradients of stage 0 are complete: its replicas may add them up
  kTie,              // 0T: gradients of a parameter that the first and the last stage share meet
};

struct Action {
  Act act = Act::kForward;
  std::int16_t stage = 0;  // of messages: the stage that sends
  std::int16_t micro = 0;
  auto operator<=>(const Action&) const = default;
};
Action make_action(Act act, int stage, int micro);
bool is_compute(Act act);
bool is_message(Act act);
bool is_send(Act act);

// One rank's. Adjacent messages form one exchange.
using Program = std::vector<Action>;

struct Schedule {
  int chunks = 1;  // stages of a rank
  int micros = 0;
  std::vector<Program> ranks;

  int stages() const { return chunks * static_cast<int>(ranks.size()); }
  int rank_of(int stage) const { return stage % static_cast<int>(ranks.size()); }
  Program& program(int rank) { return ranks[static_cast<std::size_t>(rank)]; }
  const Program& program(int rank) const { return ranks[static_cast<std::size_t>(rank)]; }
  bool operator==(const Schedule&) const = default;
};

// Ranks that do nothing yet. Errors, here and of the builders below: kConfig for fewer than one
// rank, chunk or micro-batch, or more than 32767 stages or micro-batches.
Schedule empty_schedule(int ranks, int chunks, int micros);

// The builders give computing only.
//
// All forwards, then all backwards (Huang et al., "GPipe", NeurIPS 2019). Holds the activations of
// all micro-batches.
Schedule gpipe(int ranks, int micros);
// As many forwards as the stage is away from the end, then backward and forward in turn (Narayanan
// et al., "PipeDream-Flush" in "Memory-efficient pipeline-parallel DNN training", ICML 2021). Holds
// at most `ranks` micro-batches.
Schedule one_f_one_b(int ranks, int micros);
// The same with `chunks` stages per rank and a bubble that many times smaller (Narayanan et al.,
// "Efficient large-scale language model training on GPU clusters using Megatron-LM", SC 2021,
// section 2.2), if micro-batches are a multiple of ranks; the last ones of others run as if they
// were. Rank r holds up to 2 (ranks - r) - 1 + (chunks - 1) ranks micro-batches of one stage.
Schedule interleaved(int ranks, int chunks, int micros);
// 1F1B with the backward pass split, so that weights' gradients fill the bubble: a third of 1F1B's
// if a forward and both gradients cost the same (Qi et al., "Zero bubble pipeline parallelism",
// ICLR 2024: ZB-H1). To do so, every rank holds as many micro-batches as the first rank of 1F1B.
Schedule zero_bubble(int ranks, int micros);
// Only the forwards, for evaluation.
Schedule forward_only(int ranks, int chunks, int micros);

// Adds the messages. A result is sent at once, and received as soon as it has been sent and the
// receiver is between two actions, if all actions take equally long: the executor need only begin
// to receive there, what uses the result waits for it. All ranks meet messages in one order, so
// that none deadlocks, whatever sends wait for. Adds kReduce after a stage's last gradient of
// weights. `tied`: the first and the last stage share a parameter; both get kTie at the end of
// their rank's program, before their kReduce (not on a single rank: both uses add to one gradient).
// Errors: kUsage for messages that are there already.
Schedule with_messages(Schedule compute_only, bool tied = false);

// One line a rank: "0F0 0F0> 0F1 0F1> >1B0 0B0 ...".
std::string to_text(const Schedule& s);
std::string to_text(const Action& a);
// Blank lines and lines that begin with # are left out; a rank's stages tell how many chunks there
// are. Whether the schedule is valid, the dry run says. Errors: kConfig with line and word.
Schedule parse_schedule(std::string_view text);

}  // namespace gradwire
