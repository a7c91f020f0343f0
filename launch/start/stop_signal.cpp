#include "launch/start/stop_signal.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <ctime>

#include <poll.h>
#include <unistd.h>

#include "core/error.h"

namespace gradwire {
namespace {

constexpr std::int64_t kImpatientAfterMs = 1000;
constexpr std::size_t kMostName = 32;

// A handler has nothing but static storage to write to.
std::atomic<bool> in_use{false};
std::atomic<bool> heard{false};
std::atomic<int> first_signal{0};             // once it is acknowledged
std::atomic<std::int64_t> interrupted_ms{0};  // when SIGINT came first; 0: never
std::array<char, 64> line_begin{};            // the acknowledgement before the signal's name
std::atomic<std::size_t> line_begin_bytes{0};
static_assert(std::atomic<std::int64_t>::is_always_lock_free &&
              std::atomic<std::size_t>::is_always_lock_free);

std::int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{1000} * now.tv_sec + now.tv_nsec / 1'000'000 + 1;  // never 0
}

std::string_view name_of_signal(int number) {
  switch (number) {
    case SIGINT: return "SIGINT";
    case SIGTERM: return "SIGTERM";
    case SIGUSR1: return "SIGUSR1";
    case SIGUSR2: return "SIGUSR2";
    default: return "SIGHUP";
  }
}

// One write, by what a handler may call. Lost if stderr cannot take it: never waits.
void acknowledge(int number) {
  std::array<char, 256> line;
  auto end = std::copy_n(line_begin.begin(), line_begin_bytes.load(), line.begin());
  const auto add = [&](std::string_view text) { end = std::ranges::copy(text, end).out; };
  add(name_of_signal(number));
  add(": will stop after what is under way, with a checkpoint");
  if (number == SIGINT) add("; once more ends at once");
  add("\n");
  pollfd out{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&out, 1, 0) != 1 || (out.revents & POLLOUT) == 0) return;
  [[maybe_unused]] const ssize_t put =
      ::write(STDERR_FILENO, line.data(), static_cast<std::size_t>(end - line.begin()));
}

extern "C" void gradwire_on_stop_signal(int number) {
  const int error = errno;
  if (!heard.exchange(true)) {
    acknowledge(number);
    first_signal = number;
  }
  if (number == SIGINT) {
    std::int64_t first = 0;
    const std::int64_t now = now_ms();
    const bool again = !interrupted_ms.compare_exchange_strong(first, now);
    if (again && now - first >= kImpatientAfterMs) ::_exit(128 + number);
  }
  errno = error;
}

}  // namespace

bool hangup_is_ignored() noexcept {
  static const bool at_first = [] {
    struct sigaction now {};
    return ::sigaction(SIGHUP, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
  }();
  return at_first;
}

StopSignal::StopSignal(std::string_view who) {
  check(!in_use.exchange(true), ErrorKind::kInternal, "stop signal: another one exists");
  heard = false;
  first_signal = 0;
  interrupted_ms = 0;
  constexpr std::string_view kClear = "\r\x1b[K";  // what progress has drawn on a terminal
  constexpr std::string_view kProgram = "gradwire: ";
  auto end = line_begin.begin();
  if (::isatty(STDERR_FILENO) == 1) end = std::ranges::copy(kClear, end).out;
  end = std::ranges::copy(who.substr(0, kMostName), end).out;
  end = std::ranges::copy(kProgram, end).out;
  line_begin_bytes = static_cast<std::size_t>(end - line_begin.begin());
  struct sigaction action {};
  action.sa_handler = gradwire_on_stop_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : kSignals) {
    if (number != SIGHUP || !hangup_is_ignored()) sigaction(number, &action, nullptr);
    sigaddset(&signals, number);
  }
  landing_ = std::thread([this, signals] {
    pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
    end_.acquire();
  });
  pthread_sigmask(SIG_BLOCK, &signals, &mask_before_);
}

StopSignal::~StopSignal() {
  for (const int number : kSignals)
    ::signal(number, SIG_IGN);
  end_.release();
  landing_.join();
  pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
  in_use = false;
}

int StopSignal::signal() const noexcept {
  return first_signal.load();
}

}  // namespace gradwire
