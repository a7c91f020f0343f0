// How long other ranks have given no sign of life, by the observer's own clock. What a heartbeat
// says is the time of its own host, whose clock may be off by any amount: only that it changes
// counts.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gradwire {

class Heartbeats {
 public:
  using Clock = std::chrono::steady_clock;
  explicit Heartbeats(std::size_t ranks) : seen_(ranks) {}

  // Gives how long the heartbeat of `rank` has been `heartbeat_ms`, so far as looks have shown:
  // zero at the first one.
  std::chrono::milliseconds look(std::size_t rank, std::int64_t heartbeat_ms,
                                 Clock::time_point now) {
    Seen& seen = seen_[rank];
    if (!seen.ever || seen.heartbeat_ms != heartbeat_ms) seen = {true, heartbeat_ms, now};
    return std::chrono::duration_cast<std::chrono::milliseconds>(now - seen.changed);
  }

 private:
  struct Seen {
    bool ever = false;
    std::int64_t heartbeat_ms = 0;
    Clock::time_point changed{};
  };
  std::vector<Seen> seen_;
};

}  // namespace gradwire
