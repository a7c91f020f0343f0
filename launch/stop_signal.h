// A request to stop, by signal. The first SIGINT, SIGTERM or SIGUSR1 only sets a flag, which the
// training loop reads between steps and agrees on with the other ranks; a second SIGINT or SIGTERM
// ends the process at once, with status 128 + signal. What was committed to disk stays good.
// Handlers never run on threads that compute: oneDNN's products (2.6.3) keep data below the stack
// pointer, where a handler's frame would overwrite it. The signals land on a thread of this object;
// the thread that makes it, and all that are started while it lives, block them. So it is made
// before threads that compute. One object at a time may exist: signals belong to the process.
#pragma once

#include <array>
#include <csignal>
#include <semaphore>
#include <thread>

namespace gradwire {

class StopSignal {
 public:
  // Throws Error(kInternal) where another one exists.
  StopSignal();
  // Puts back the handlers and the signal mask that it found.
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  bool requested() const noexcept { return signal() != 0; }
  int signal() const noexcept;  // the first that came; 0: none

 private:
  static constexpr std::array kSignals = {SIGINT, SIGTERM, SIGUSR1};
  std::array<struct sigaction, kSignals.size()> handlers_before_{};
  sigset_t mask_before_{};
  std::binary_semaphore end_{0};
  std::thread landing_;
};

}  // namespace gradwire
