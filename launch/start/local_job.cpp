#include "launch/start/local_job.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "comm/sockets.h"
#include "core/error.h"
#include "launch/start/environment.h"
#include "launch/start/stop_signal.h"

namespace gradwire {
namespace {

using Clock = std::chrono::steady_clock;

// Ranks learn of a failure from each other, and have that long to say so and end by themselves.
constexpr auto kGrace = std::chrono::seconds(15);
// A rank that refuses its command line or recipe ends before ranks meet, and they all have the
// same.
constexpr auto kGraceOfRefusal = std::chrono::seconds(1);

constexpr auto kLookEvery = std::chrono::milliseconds(20);

// Passed on to the ranks. Libraries have started threads before main(), any of which a signal may
// interrupt: a handler that counts serves them all. Several in a row are one.
constexpr std::array kPassedOn = StopSignal::kSignals;
std::array<std::atomic<int>, kPassedOn.size()> arrived{};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void gradwire_on_signal_to_ranks(int number) {
  const auto at = std::ranges::find(kPassedOn, number) - kPassedOn.begin();
  arrived[static_cast<std::size_t>(at)].fetch_add(1);
}

bool good(int status) {
  return WIFEXITED(status) &&
         (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == static_cast<int>(ExitCode::kStopped));
}

bool refused(const RankEnd& end) {
  return WIFEXITED(end.status) && WEXITSTATUS(end.status) == static_cast<int>(ExitCode::kUsage);
}

int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : static_cast<int>(ExitCode::kPeerLost);
}

std::string random_token() {
  std::random_device random;
  std::string token;
  for (int i = 0; i < 4; ++i)
    token += fmt::format("{:08x}", random());
  return token;
}

constexpr std::array<std::string_view, 3> kMeeting = {"GRADWIRE_ADDRESS", "GRADWIRE_TOKEN",
                                                      "GRADWIRE_LISTENER"};

// This process's environment without what another launcher says of it, and with `more`.
std::vector<std::string> environment_with(const std::vector<std::string>& more) {
  const std::vector<const char*> others = rank_variables();
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view name(*entry, std::strcspn(*entry, "="));
    const bool says_rank = std::ranges::find(others, name) != others.end();
    const bool says_where = std::ranges::find(kMeeting, name) != kMeeting.end();
    if (!says_rank && !says_where) all.emplace_back(*entry);
  }
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// A list as execve() takes it; points into `strings`.
std::vector<char*> pointers(const std::vector<std::string>& strings) {
  std::vector<char*> all;
  for (const std::string& s : strings)
    all.push_back(const_cast<char*>(s.c_str()));
  all.push_back(nullptr);
  return all;
}

struct ChildSetup {
  int rank;
  int listener;
  pid_t parent;
};

// Between fork and exec: only what a signal handler might call. A group of its own keeps Ctrl-C of
// the terminal from arriving twice.
[[noreturn]] void become_rank(const ChildSetup& setup, char* const* args,
                              char* const* environment) {
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != setup.parent) ::_exit(static_cast<int>(ExitCode::kPeerLost));
  if (setup.rank == 0) ::fcntl(setup.listener, F_SETFD, 0);
  if (setup.rank > 0) ::dup2(::open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
  ::signal(SIGPIPE, SIG_DFL);  // what this process ignores is its own choice
  ::execve("/proc/self/exe", args, environment);
  ::_exit(static_cast<int>(ExitCode::kBug));
}

}  // namespace

int job_exit_code(const std::vector<RankEnd>& ends) {
  int code = 0;
  for (const RankEnd& end : ends) {
    const int its = code_of(end.status);
    if (good(end.status)) {
      if (code == 0) code = its;
      continue;
    }
    const bool first = code == 0 || code == static_cast<int>(ExitCode::kStopped);
    const bool cause = code == static_cast<int>(ExitCode::kPeerLost) && !end.by_us;
    if (first || cause) code = its;
  }
  return code;
}

std::string describe(const RankEnd& end) {
  if (!WIFSIGNALED(end.status)) return "";
  const int number = WTERMSIG(end.status);
  return fmt::format("rank {} was killed by signal {} ({}){}", end.rank, number,
                     ::strsignal(number),
                     end.by_us ? ": it did not end when another rank had failed" : "");
}

LocalJob::LocalJob() {
  struct sigaction action {};
  action.sa_handler = gradwire_on_signal_to_ranks;
  action.sa_flags = SA_RESTART;
  for (std::size_t i = 0; i < kPassedOn.size(); ++i) {
    arrived[i] = 0;
    if (kPassedOn[i] != SIGHUP || !hangup_is_ignored()) ::sigaction(kPassedOn[i], &action, nullptr);
  }
  ::signal(SIGCHLD, SIG_DFL);  // if it is ignored, the system keeps nobody's status
}

LocalJob::~LocalJob() {
  signal_all(SIGKILL);
  for (Child& child : children_) {
    if (child.runs) ::waitpid(child.pid, nullptr, 0);
  }
}

void LocalJob::start(int ranks, const std::vector<std::string>& args) {
  const Listener listener = listen_on_loopback();
  ::fcntl(listener.socket, F_SETFD, FD_CLOEXEC);
  const std::string token = random_token();
  children_.resize(static_cast<std::size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    std::vector<std::string> more = {fmt::format("GRADWIRE_RANK={}", rank),
                                     fmt::format("GRADWIRE_SIZE={}", ranks),
                                     fmt::format("GRADWIRE_LOCAL_RANK={}", rank),
                                     fmt::format("GRADWIRE_LOCAL_SIZE={}", ranks),
                                     fmt::format("GRADWIRE_ADDRESS=127.0.0.1:{}", listener.port),
                                     fmt::format("GRADWIRE_TOKEN={}", token)};
    if (rank == 0) more.push_back(fmt::format("GRADWIRE_LISTENER={}", listener.socket));
    spawn(rank, args, environment_with(more), listener.socket);
  }
  ::close(listener.socket);
}

void LocalJob::spawn(int rank, const std::vector<std::string>& args,
                     const std::vector<std::string>& environment, int listener) {
  const std::vector<char*> argv = pointers(args), envp = pointers(environment);
  const ChildSetup setup{rank, listener, ::getpid()};
  Child& child = children_[static_cast<std::size_t>(rank)];
  child.pid = ::fork();
  if (child.pid == 0) become_rank(setup, argv.data(), envp.data());
  if (child.pid < 0) {
    throw Error(ErrorKind::kIo,
                fmt::format("launch: cannot start rank {}: {}", rank, std::strerror(errno)));
  }
  child.runs = true;
}

bool LocalJob::runs() const {
  return std::ranges::any_of(children_, &Child::runs);
}

void LocalJob::signal_all(int number) {
  for (const Child& child : children_) {
    if (child.runs) ::kill(child.pid, number);
  }
}

void LocalJob::reap(std::vector<RankEnd>& ends) {
  for (std::size_t r = 0; r < children_.size(); ++r) {
    Child& child = children_[r];
    RankEnd end{static_cast<int>(r), 0, child.told_to_end};
    if (!child.runs || ::waitpid(child.pid, &end.status, WNOHANG) != child.pid) continue;
    child.runs = false;
    const bool needless = child.not_needed && WIFSIGNALED(end.status);
    if (!needless) ends.push_back(end);
  }
}

void LocalJob::pass_signals_on() {
  for (std::size_t i = 0; i < kPassedOn.size(); ++i) {
    if (arrived[i].exchange(0) > 0) signal_all(kPassedOn[i]);
  }
}

std::vector<RankEnd> LocalJob::wait() {
  std::vector<RankEnd> ends;
  std::optional<Clock::time_point> patience_ends;
  int last_words = SIGTERM;
  while (runs()) {
    std::this_thread::sleep_for(kLookEvery);
    pass_signals_on();
    reap(ends);
    const bool failed = std::ranges::any_of(ends, [](const RankEnd& e) { return !good(e.status); });
    if (failed && !patience_ends) {
      patience_ends =
          Clock::now() + (std::ranges::any_of(ends, refused) ? kGraceOfRefusal : kGrace);
      signal_all(SIGCONT);  // one that is stopped cannot learn of it
    }
    if (!patience_ends || Clock::now() < *patience_ends) continue;
    const bool refusal = std::ranges::any_of(ends, refused);
    for (Child& child : children_)
      (refusal ? child.not_needed : child.told_to_end) = true;
    signal_all(std::exchange(last_words, SIGKILL));
    *patience_ends += kGrace;
  }
  return ends;
}

}  // namespace gradwire
