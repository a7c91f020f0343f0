#include "launch/start/console.h"

#include <chrono>
#include <ctime>
#include <exception>
#include <thread>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include "core/host_name.h"
#include "core/printable.h"

namespace gradwire {
namespace {

constexpr std::size_t kMostKept = std::size_t{1} << 20;

// Within a second or not at all. (The thread sanitizer does not know std::timed_mutex.)
std::unique_lock<std::mutex> lock_soon(std::mutex& mutex) {
  constexpr int kTries = 100;
  constexpr std::chrono::milliseconds kPause(10);
  std::unique_lock lock(mutex, std::try_to_lock);
  for (int i = 0; i < kTries && !lock; ++i) {
    std::this_thread::sleep_for(kPause);
    lock.try_lock();
  }
  return lock;
}

std::string start_line() {
  return fmt::format("=== {:%Y-%m-%dT%H:%M:%S}Z gradwire {} starts as process {} on {} ===\n",
                     fmt::gmtime(std::time(nullptr)), GW_VERSION, ::getpid(), host_name());
}

}  // namespace

// In all of these only memory for a line can run out.

void Console::say(std::string_view line) noexcept {
  log(line);  // first: the other may be a pipe that nobody reads, which blocks
  try {
    MetricsFile(fd_, "console", {}).append(printable(line) + '\n');
  } catch (const std::exception&) {
    return;
  }
}

void Console::log(std::string_view line) noexcept {
  try {
    const std::string text = printable(line) + '\n';
    const std::unique_lock lock = lock_soon(mutex_);
    if (!lock) return;
    if (file_) {
      file_->append(text);
    } else if (before_.size() + text.size() <= kMostKept) {
      before_ += text;
    }
  } catch (const std::exception&) {
    return;
  }
}

void Console::keep_in(const std::string& path) noexcept {
  try {
    const std::unique_lock lock = lock_soon(mutex_);
    if (!lock) return;
    const OnTrouble trouble = [fd = fd_](const std::string& what) {
      MetricsFile(fd, "console", {}).append("warning: " + what + '\n');
    };
    file_ = std::make_unique<MetricsFile>(path, trouble);
    const char* const torn = file_->last_byte() == '\n' ? "" : "\n";
    file_->append(torn + start_line() + before_);
    before_.clear();
  } catch (const std::exception&) {
    return;
  }
}

Console& console() {
  // Never destroyed: threads may say something until the process ends.
  static Console* const of_process = new Console(STDERR_FILENO);
  return *of_process;
}

std::string rank_prefix(const RankEnvironment& env) {
  return env.rank > 0 ? fmt::format("[rank {}] ", env.rank) : "";
}

}  // namespace gradwire
