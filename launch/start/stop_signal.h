// A request to stop, by signal: SIGINT (Ctrl-C), SIGTERM, SIGUSR1, SIGUSR2 or SIGHUP. The first one
// sets a flag, which is read between steps and agreed on with the other ranks, and is acknowledged
// at once by a line on stderr. Later ones are the same request, since systems repeat them and send
// several kinds: Slurm warns with SIGUSR1 and sends SIGTERM when time is up, and what ends a
// control group hits launcher and ranks, of which the launcher passes it on. Only a second SIGINT,
// a second or more after the first, is impatience and ends the process at once with status 130.
// What was committed to disk stays good. Handlers never run on threads that compute: oneDNN's
// products (2.6.3) keep data below the stack pointer, where a handler's frame would overwrite it.
// The signals land on a thread of this object; the thread that makes it, and all that are started
// while it lives, block them. So it is made before threads that compute. One object at a time may
// exist: signals belong to the process.
#pragma once

#include <array>
#include <csignal>
#include <semaphore>
#include <string_view>
#include <thread>

namespace gradwire {

class StopSignal {
 public:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP};

  // `who` begins the lines on stderr, such as "[rank 3] ". A SIGHUP that is ignored, as by nohup,
  // stays so. Throws Error(kInternal) if another one exists.
  explicit StopSignal(std::string_view who = "");
  // Puts back the signal mask that it found. The signals are ignored from now on: what the process
  // has come to is settled, and they must not change its exit code while it leaves.
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool requested() const noexcept { return signal() != 0; }
  int signal() const noexcept;  // the first that came; 0: none

 private:
  sigset_t mask_before_{};
  std::binary_semaphore end_{0};
  std::thread landing_;
};

// Whether SIGHUP was ignored when this was first asked, as nohup starts programs: then it means
// nothing.
bool hangup_is_ignored() noexcept;

}  // namespace gradwire
