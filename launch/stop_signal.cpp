#include "launch/stop_signal.h"

#include <atomic>

#include <unistd.h>

#include "core/error.h"

namespace gradwire {
namespace {

// A handler has nothing but static storage to write to.
std::atomic<bool> in_use{false};
std::atomic<int> first_signal{0};
std::atomic<bool> asked_to_end{false};  // by SIGINT or SIGTERM
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

extern "C" void gradwire_on_stop_signal(int number) {
  int none = 0;
  first_signal.compare_exchange_strong(none, number);
  // Slurm sends SIGUSR1 as a warning and SIGTERM when time is up: that is one request, not two.
  if (number != SIGUSR1 && asked_to_end.exchange(true)) ::_exit(128 + number);
}

}  // namespace

StopSignal::StopSignal() {
  check(!in_use.exchange(true), ErrorKind::kInternal, "stop signal: another one exists");
  first_signal = 0;
  asked_to_end = false;
  struct sigaction action {};
  action.sa_handler = gradwire_on_stop_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigset_t signals;
  sigemptyset(&signals);
  for (std::size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &action, &handlers_before_[i]);
    sigaddset(&signals, kSignals[i]);
  }
  landing_ = std::thread([this, signals] {
    pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
    end_.acquire();
  });
  pthread_sigmask(SIG_BLOCK, &signals, &mask_before_);
}

StopSignal::~StopSignal() {
  end_.release();
  landing_.join();
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    sigaction(kSignals[i], &handlers_before_[i], nullptr);
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  in_use = false;
}

int StopSignal::signal() const noexcept {
  return first_signal.load();
}

}  // namespace gradwire
