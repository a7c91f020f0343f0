#include <algorithm>
#include <utility>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace gradwire {
namespace {

// What one rank has done so far, in micro-batches.
struct Rank {
  int forwards = 0, inputs = 0, weights = 0;
};

// All ranks in steps of one unit of time: a forward, an input gradient and a weight gradient take
// one each.
class Simulation {
 public:
  Simulation(int ranks, int micros)
      : micros_(micros),
        schedule_(empty_schedule(ranks, 1, micros)),
        ranks_(schedule_.ranks.size()) {}

  Schedule run() {
    for (bool busy = true; busy;) {
      const std::vector<Rank> before = ranks_;
      busy = false;
      for (std::size_t r = 0; r < ranks_.size(); ++r)
        busy = advance(r, before) || busy;
    }
    return std::move(schedule_);
  }

 private:
  // Forwards and input gradients in the order of 1F1B; a weight gradient if the next of them
  // cannot be yet, or if a forward has no room. False: the rank has done all.
  bool advance(std::size_t r, const std::vector<Rank>& before) {
    Rank& rank = ranks_[r];
    const int ranks = static_cast<int>(ranks_.size());
    const bool last = r + 1 == ranks_.size();
    const int have_input = r == 0 ? micros_ : before[r - 1].forwards;
    const int have_gradient = last ? before[r].forwards : before[r + 1].inputs;
    const int ahead = std::min(ranks - static_cast<int>(r), micros_ - rank.inputs);
    const bool forward_next = rank.forwards - rank.inputs < ahead;
    const bool room = rank.forwards - rank.weights < ranks;
    if (forward_next && room && rank.forwards < have_input) {
      return add(r, Act::kForward, rank.forwards);
    }
    if (!forward_next && rank.inputs < have_gradient) {
      return add(r, Act::kBackwardInput, rank.inputs);
    }
    if (rank.weights < rank.inputs) return add(r, Act::kBackwardWeight, rank.weights);
    return rank.weights < micros_;
  }

  bool add(std::size_t r, Act act, int& done) {
    schedule_.ranks[r].push_back(make_action(act, static_cast<int>(r), done++));
    return true;
  }

  int micros_;
  Schedule schedule_;
  std::vector<Rank> ranks_;
};

}  // namespace

Schedule zero_bubble(int ranks, int micros) {
  return Simulation(ranks, micros).run();
}

}  // namespace gradwire
