#include "train/stall/watchdog.h"

#include <algorithm>
#include <utility>

namespace gradwire {

using namespace std::chrono_literals;

bool StallDetector::look(const RankStatus& status, Clock::time_point now) {
  const bool progressed = status.progress != progress_ || status.doing == Doing::kBetweenSteps;
  const Clock::duration since = std::min(now - std::exchange(looked_, now), longest_);
  idle_ = progressed ? Clock::duration::zero() : idle_ + since;
  progress_ = status.progress;
  return idle_ >= timeout_;
}

std::chrono::milliseconds look_interval(std::chrono::milliseconds timeout) {
  return std::clamp<std::chrono::milliseconds>(timeout / 10, 20ms, 1000ms);
}

Watchdog::Watchdog(StatusBoard& board, Options options, std::function<void()> each_look,
                   std::function<void()> on_stall)
    : board_(board),
      options_(options),
      each_look_(std::move(each_look)),
      on_stall_(std::move(on_stall)),
      thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::watch() {
  const std::chrono::milliseconds interval = look_interval(options_.timeout);
  StallDetector detector(options_.timeout, interval);
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return ends_; })) {
    lock.unlock();
    each_look_();
    board_.change([](RankStatus& s, std::int64_t now_ms) { s.heartbeat_ms = now_ms; });
    if (options_.flush) board_.flush();
    if (detector.look(board_.status(), StallDetector::Clock::now())) {
      on_stall_();
      return;
    }
    lock.lock();
  }
}

}  // namespace gradwire
