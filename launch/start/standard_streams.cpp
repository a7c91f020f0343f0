#include "launch/start/standard_streams.h"

#include <csignal>
#include <cstdio>
#include <exception>

#include <fcntl.h>
#include <unistd.h>

#include "launch/start/console.h"
#include "train/metrics/metrics_file.h"

namespace gradwire {

void guard_standard_streams() noexcept {
  ::signal(SIGPIPE, SIG_IGN);
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0) continue;
    // Gets the lowest number that is free: this one.
    [[maybe_unused]] const int opened = ::open("/dev/null", O_RDONLY);
  }
}

void show_line(const std::string& line) noexcept {
  try {
    static MetricsFile out(STDOUT_FILENO, "standard output",
                           [](const std::string& what) { console().say("warning: " + what); });
    out.append(line + '\n');
  } catch (const std::exception&) {
    return;  // no memory for a line
  }
}

}  // namespace gradwire
