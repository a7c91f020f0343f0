// What a process says to people: lines on stderr, and in training also in the console.log of the
// run's folder. Neither ever stops the process: what cannot be written is lost, be it to a full
// disk, a closed descriptor or a pipe that nobody reads from.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "launch/start/environment.h"
#include "train/metrics/metrics_file.h"

namespace gradwire {

class Console {
 public:
  explicit Console(int fd) : fd_(fd) {}

  // A line to the descriptor and to the log. Lines said before there is a log are kept for it.
  void say(std::string_view line) noexcept;
  // To the log alone, for what is written to the descriptor otherwise. Gives up if another thread
  // has been writing there for a second: this process may be about to end.
  void log(std::string_view line) noexcept;
  // Appends to the file at `path` from now on, beginning with a line that says who started when.
  // For one process of a run.
  void keep_in(const std::string& path) noexcept;

 private:
  int fd_;
  std::mutex mutex_;
  std::unique_ptr<MetricsFile> file_;  // with the mutex
  std::string before_;                 // with the mutex: lines until there is a file
};

// That of this process, on stderr.
Console& console();

// "[rank 3] " for what ranks other than 0 say, which would else be taken for rank 0's.
std::string rank_prefix(const RankEnvironment& env);

}  // namespace gradwire
