// Tells the silence of others from one's own: a process that was stopped (SIGSTOP, a suspended
// machine) finds all its waits overdue when it goes on, though nobody has kept it waiting.
#pragma once

#include <chrono>

namespace gradwire {

class OwnSleep {
 public:
  using Clock = std::chrono::steady_clock;
  // For how long this process has not run since the last call, if a loop calls it every few
  // milliseconds; zero for what scheduling explains.
  Clock::duration look(Clock::time_point now) {
    const Clock::duration gap = now - last_;
    const bool first = last_ == Clock::time_point{};
    last_ = now;
    return first || gap < kAsleep ? Clock::duration::zero() : gap;
  }

 private:
  static constexpr std::chrono::seconds kAsleep{1};
  Clock::time_point last_{};
};

}  // namespace gradwire
