#include "comm/descriptors.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>

#include <fmt/format.h>
#include <sys/resource.h>

#include "core/error.h"

namespace gradwire {
namespace {

// For files, pipes and libraries, now and later: checkpoints, logs, boards, the tokens.
constexpr std::int64_t kOthers = 64;

struct Limits {
  std::int64_t now = 0, most = 0;  // soft and hard
};

std::int64_t count_of(rlim_t limit) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  return limit == RLIM_INFINITY || limit > static_cast<rlim_t>(kMost)
             ? kMost
             : static_cast<std::int64_t>(limit);
}

Limits limits() {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0) return {};
  return {count_of(files.rlim_cur), count_of(files.rlim_max)};
}

std::int64_t in_use() {
  std::error_code unknown;
  const std::filesystem::directory_iterator all("/proc/self/fd", unknown);
  return unknown ? 0 : std::distance(begin(all), end(all));
}

}  // namespace

void raise_descriptor_limit() noexcept {
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == files.rlim_max) return;
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
}

void check_descriptors(std::int64_t more, const std::string& who) {
  const auto [now, most] = limits();
  const std::int64_t needed = in_use() + more + kOthers;
  if (needed <= now) return;
  throw Error(ErrorKind::kIo,
              fmt::format("{} need {} file descriptors in every process, and this one may have {} "
                          "(RLIMIT_NOFILE; hard limit {}): start it below `ulimit -n {}`{}",
                          who, needed, now, most, needed,
                          needed > most ? ", which the administrator has to allow" : ""));
}

std::int64_t most_ranks_by_descriptors(int connections) {
  const std::int64_t left = limits().most - in_use() - kOthers;
  return std::max<std::int64_t>(left / (connections + 1) + 1, 1);
}

}  // namespace gradwire
