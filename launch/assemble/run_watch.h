// The watchdog of a training run: every rank keeps a status board in the folder of the run, and
// where a step makes no progress for train.stall_timeout_s, the first rank that notices prints what
// all of them are at and who holds them up. It and all others then end with exit code 7. A run of
// one rank has none, since there nobody waits for anybody.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launch/assemble/session.h"
#include "train/stall/heartbeats.h"
#include "train/stall/status_recorder.h"
#include "train/stall/watchdog.h"

namespace gradwire {

class RunWatch {
 public:
  // Once the folder of the run exists; `session` must outlive it. Collective. Errors: kIo.
  explicit RunWatch(Session& session);
  // With an exception on its way, ends the process where the run has been found to stand still: a
  // peer that was lost then is a consequence.
  ~RunWatch();
  RunWatch(const RunWatch&) = delete;
  RunWatch& operator=(const RunWatch&) = delete;

  // Null if nothing is watched.
  StepObserver* steps() { return steps_.get(); }

 private:
  void observe_communicators();
  std::string report_path() const { return dir_ + "/stall.txt"; }
  void end_if_reported() const;
  [[noreturn]] void end_stalled();
  std::string report();
  void follow_heartbeats();
  // So long has the rank given no sign of life.
  std::int64_t quiet_ms(const RankStatus& status);

  Session& session_;
  std::string dir_;
  std::chrono::milliseconds timeout_;
  int exceptions_;
  std::unique_ptr<StatusBoard> board_;
  std::unique_ptr<StepRecorder> steps_;
  std::vector<std::unique_ptr<CallRecorder>> calls_;
  // Of the watchdog's thread.
  std::string host_;
  Heartbeats heartbeats_;
  std::uint64_t progress_ = 0;
  Heartbeats::Clock::time_point progressed_{};
  std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace gradwire
