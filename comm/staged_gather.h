// Gathering small parts of all ranks with few messages: a rank hands its part to the k - 1 ranks
// behind it, and then all k parts that it has to every k-th rank behind it. With k near the root of
// the number of ranks n, these two rounds take about 2 sqrt(n) messages of a rank instead of n - 1,
// and no more bytes (Bruck, Ho, Kipnis, Upfal & Weathersby, "Efficient algorithms for all-to-all
// communications in multiport message-passing systems", 1997, section 4, with k - 1 ports). Worth
// it if handling a message costs more than sending its bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/plan.h"

namespace gradwire {

// Whether an all-reduce is of so few bytes that every rank gets the tensors of all and reduces them
// itself. Decided by the call and not by its pieces, so that all of them go the same way.
bool is_gathered_whole(const Call& call);
// Whether parts are gathered in stages: only if that saves messages, for it costs a round.
bool is_gathered_in_stages(const Call& call, int ranks);

class StagedGather {
 public:
  // `bytes_of`: of each rank's part, the same function on all ranks.
  StagedGather(int rank, int ranks, const std::function<std::size_t(int)>& bytes_of);

  // Of the memory that parts are gathered in.
  std::size_t bytes() const { return begin_.back(); }
  // Where rank r's part is in that memory. This rank's must be there before the first round.
  std::byte* part(std::byte* memory, int r) const { return memory + begin_[distance_to(r)]; }
  std::size_t part_bytes(int r) const {
    return begin_[distance_to(r) + 1] - begin_[distance_to(r)];
  }
  // The rounds. Messages without bytes are left out, unless they are all that is wanted.
  std::vector<Round> rounds(std::byte* memory, bool with_empty = false) const;
  // What this rank sends in them, without empty messages.
  SentOnWire sent() const;

 private:
  // The ranks before this one, as far as parts come from: 0 is its own.
  std::size_t distance_to(int r) const {
    return static_cast<std::size_t>(ranks_ + rank_ - r) % static_cast<std::size_t>(ranks_);
  }
  int behind(int distance) const { return (rank_ + distance) % ranks_; }
  int before(int distance) const { return (rank_ - distance + ranks_) % ranks_; }

  int rank_, ranks_;
  int first_;                       // k
  std::vector<std::size_t> begin_;  // by distance; the part of the rank so far before this one
};

}  // namespace gradwire
