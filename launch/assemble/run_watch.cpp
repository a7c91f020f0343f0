#include "launch/assemble/run_watch.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "core/host_name.h"
#include "launch/start/console.h"
#include "train/run_on_all_ranks.h"
#include "train/stall/stall_report.h"

namespace gradwire {
namespace {

using std::chrono::milliseconds;

// The watchdog speaks before a call runs out of its time.
milliseconds timeout_of(const Recipe& recipe) {
  return std::min(milliseconds(1000 * recipe.train.stall_timeout_s),
                  milliseconds(800 * recipe.comm.timeout_s));
}

// Of /proc/PID/stat, "PID (NAME) STATE ...".
char process_state(int pid) {
  std::ifstream in(fmt::format("/proc/{}/stat", pid));
  std::stringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  const std::size_t end = all.rfind(')');
  if (end != std::string::npos && end + 2 < all.size()) return all[end + 2];
  return ::kill(pid, 0) == 0 ? SeenRank::kUnknown : SeenRank::kGone;
}

// To stderr, which may be a pipe that nobody reads: that must not keep the process from ending.
void say(std::string_view text) {
  constexpr std::size_t kAtOnce = 4096;  // what a pipe that is ready takes
  constexpr int kPatienceMs = 2000;
  while (!text.empty()) {
    pollfd out{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&out, 1, kPatienceMs) <= 0) return;
    const ssize_t put = ::write(STDERR_FILENO, text.data(), std::min(text.size(), kAtOnce));
    if (put <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(put));
  }
}

[[noreturn]] void leave(const RankEnvironment& env, const std::string& why) {
  const std::string line = fmt::format("[rank {}] gradwire: stalled: {}", env.rank, why);
  console().log(line);
  say(line + '\n');
  ::_exit(static_cast<int>(ExitCode::kStalled));
}

}  // namespace

RunWatch::RunWatch(Session& session)
    : session_(session),
      dir_(session.run_dir() + "/status"),
      timeout_(timeout_of(session.recipe())),
      exceptions_(std::uncaught_exceptions()),
      host_(host_name()),
      heartbeats_(static_cast<std::size_t>(session.env().size)) {
  const RankEnvironment& env = session.env();
  if (env.size == 1 || timeout_.count() == 0) return;
  run_on_all_ranks(session.ranks(), [&] {
    if (env.local_rank != 0) return;
    std::filesystem::create_directories(dir_);
    std::filesystem::remove(report_path());
  });
  run_on_all_ranks(session.ranks(), [&] {
    RankStatus begin;
    host_.copy(begin.host.data(), begin.host.size() - 1);
    begin.rank = env.rank;
    begin.pid = ::getpid();
    board_ = std::make_unique<StatusBoard>(status_path(dir_, env.rank), begin);
  });
  steps_ = std::make_unique<StepRecorder>(*board_);
  observe_communicators();
  session_.world().before_leaving([this] { end_if_reported(); });
  watchdog_ = std::make_unique<Watchdog>(
      *board_, Watchdog::Options{timeout_, env.local_size < env.size},
      [this] {
        end_if_reported();
        follow_heartbeats();
      },
      [this] { end_stalled(); });
}

RunWatch::~RunWatch() {
  if (!board_) return;
  session_.world().before_leaving(nullptr);
  if (std::uncaught_exceptions() > exceptions_) end_if_reported();
}

void RunWatch::observe_communicators() {
  const Mesh& mesh = session_.mesh();
  const int last = mesh.shape.pipeline - 1;
  std::vector<int> world, replicas, stages, ends;
  for (int r = 0; r < mesh.shape.size(); ++r) {
    const Coord at = coord_of(r, mesh.shape);
    world.push_back(r);
    if (at.pipeline == mesh.here.pipeline) replicas.push_back(r);
    if (at.data == mesh.here.data) stages.push_back(r);
    if (at.pipeline == 0 || at.pipeline == last) ends.push_back(r);
  }
  const auto observe = [&](Communicator* comm, const char* name, std::vector<int> ranks) {
    if (comm == nullptr) return;
    calls_.push_back(std::make_unique<CallRecorder>(*board_, *comm, name, std::move(ranks)));
  };
  observe(&session_.comm(), "world", std::move(world));
  observe(mesh.data.get(), "data", std::move(replicas));
  observe(mesh.pipeline.get(), "pipeline", std::move(stages));
  observe(mesh.tied_embedding.get(), "tied_embedding", std::move(ends));
}

void RunWatch::end_if_reported() const {
  std::error_code unknown;
  if (!std::filesystem::exists(report_path(), unknown)) return;
  leave(session_.env(), fmt::format("as another rank reports ({})", report_path()));
}

std::int64_t RunWatch::quiet_ms(const RankStatus& status) {
  if (status.host == board_->status().host) return board_->now_ms() - status.heartbeat_ms;
  const auto rank = static_cast<std::size_t>(status.rank);
  return heartbeats_.look(rank, status.heartbeat_ms, Heartbeats::Clock::now()).count();
}

// On other hosts, whose clocks say nothing here. Once half of the time is up, so that nothing is
// read as long as all is well.
void RunWatch::follow_heartbeats() {
  const RankEnvironment& env = session_.env();
  const auto now = Heartbeats::Clock::now();
  const std::uint64_t progress = board_->status().progress;
  if (std::exchange(progress_, progress) != progress) progressed_ = now;
  if (env.local_size == env.size || now - progressed_ < timeout_ / 2) return;
  for (int r = 0; r < env.size; ++r) {
    const std::optional<RankStatus> status = read_status(status_path(dir_, r));
    if (status && status->rank == r) quiet_ms(*status);
  }
}

std::string RunWatch::report() {
  const RankStatus own = board_->status();
  std::vector<SeenRank> ranks(static_cast<std::size_t>(session_.env().size));
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    SeenRank& seen = ranks[r];
    seen.status = read_status(status_path(dir_, static_cast<int>(r)));
    if (!seen.status || seen.status->rank != static_cast<int>(r)) {
      seen.status.reset();
      continue;
    }
    seen.quiet_ms = quiet_ms(*seen.status);
    if (seen.status->host == own.host) seen.process = process_state(seen.status->pid);
  }
  const milliseconds silent = std::max(milliseconds(5000), 5 * look_interval(timeout_));
  return stall_report({ranks, silent.count()});
}

// The report is complete before anybody can learn of it and end: it would name those that have.
void RunWatch::end_stalled() {
  const std::string text = fmt::format("no progress for {:.1f} s inside a step\n{}",
                                       static_cast<double>(timeout_.count()) / 1e3, report());
  const int file = ::open(report_path().c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0 && errno == EEXIST) end_if_reported();
  // A file that cannot be written costs the file.
  const std::string lines = text + "\n";
  [[maybe_unused]] const ssize_t kept = ::write(file, lines.data(), lines.size());
  leave(session_.env(), text);
}

}  // namespace gradwire
