// Watches one rank's own status board on a thread of its own, keeps its heartbeat, and calls out
// once when a step makes no progress. What is said and done then is the caller's
// (launch/run_watch).
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "train/stall/status_board.h"

namespace gradwire {

// Decides, without a clock of its own. Between steps, where evaluations and checkpoints take what
// they take, nothing counts as a stall.
class StallDetector {
 public:
  using Clock = std::chrono::steady_clock;
  // `between`: how often look() is called. A longer pause counts as that long: the process itself
  // was stopped, and not what it waits for.
  StallDetector(std::chrono::milliseconds timeout, std::chrono::milliseconds between)
      : timeout_(timeout), longest_(2 * between) {}
  // Whether nothing has progressed for `timeout`.
  bool look(const RankStatus& status, Clock::time_point now);

 private:
  std::chrono::milliseconds timeout_;
  Clock::duration longest_;
  std::uint64_t progress_ = 0;
  Clock::time_point looked_{};
  Clock::duration idle_{};
};

// How often a watchdog looks: often enough that a stall is called out within 1.1 times the timeout.
std::chrono::milliseconds look_interval(std::chrono::milliseconds timeout);

class Watchdog {
 public:
  struct Options {
    std::chrono::milliseconds timeout;
    bool flush = false;  // boards are read from other hosts
  };
  // `each_look` is called before every look, `on_stall` at most once; both on the watchdog's
  // thread, which `on_stall` need not come back to.
  Watchdog(StatusBoard& board, Options options, std::function<void()> each_look,
           std::function<void()> on_stall);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void watch();

  StatusBoard& board_;
  const Options options_;
  const std::function<void()> each_look_, on_stall_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool ends_ = false;
  std::thread thread_;
};

}  // namespace gradwire
