#include "launch/start/world.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <stop_token>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "comm/local/local_comm.h"
#include "core/error.h"
#include "launch/start/console.h"
#include "launch/start/exit_code.h"
#include "launch/start/libraries.h"
#include "launch/start/rendezvous.h"
#include "launch/start/waiting_note.h"

namespace gradwire {
namespace {

// Ranks that a launcher starts together are there before.
constexpr std::chrono::seconds kLongWait(10);

// One rank of each host says it.
std::string waiting_text(const RankEnvironment& env) {
  if (env.local_rank != 0) return "";
  return fmt::format("[rank {}] waiting for the other ranks: {}", env.rank, to_text(env));
}

// One rank of each host says what all hear.
MeetingHooks hooks_of(const RankEnvironment& env, const std::function<bool()>& stop_requested) {
  MeetingHooks hooks{stop_requested, {}};
  if (env.local_rank == 0) {
    hooks.say = [env](const std::string& text) { console().say(rank_prefix(env) + text); };
  }
  return hooks;
}

// While it lives, a stop that is requested ends this process some seconds later: for MPI_Init,
// which waits for other ranks and heeds nothing.
class StopWatch {
 public:
  explicit StopWatch(std::function<bool()> stop_requested) {
    if (!stop_requested) return;
    thread_ = std::jthread([stop = std::move(stop_requested)](const std::stop_token& over) {
      for (std::chrono::milliseconds left = kMeetingStop; !over.stop_requested();) {
        std::this_thread::sleep_for(kLook);
        if (stop()) left -= kLook;
        if (left > kMeetingStop.zero()) continue;
        console().say(kStoppedWhileMeeting);
        std::fflush(nullptr);
        _exit(static_cast<int>(ExitCode::kStopped));
      }
    });
  }

 private:
  static constexpr std::chrono::milliseconds kLook{10};
  std::jthread thread_;
};

}  // namespace

World::World(Context& cx, const RankEnvironment& env, const Recipe& all,
             const std::function<bool()>& stop_requested) {
  const CommRecipe& recipe = all.comm;
  if (env.size == 1) {
    alone_ = make_local_world(1);
    return;
  }
  const EnvironmentLookup lookup = [](const char* name) { return std::getenv(name); };
  const MeetingHooks hooks = hooks_of(env, stop_requested);
  const WaitingNote note(kLongWait, waiting_text(env));
  if (transport_of(env, recipe) == Transport::kTcp) {
    TcpOptions options = find_rendezvous(env, recipe, lookup, all.run.dir);
    options.hooks = hooks;
    tcp_ = std::make_unique<TcpWorld>(options);
    return;
  }
  check_mpi_can_join(env, recipe, lookup, mpi_version());
  MpiOptions options;
  options.timeout = std::chrono::seconds(recipe.timeout_s);
  {
    const StopWatch ends_it(stop_requested);
    mpi_ = std::make_unique<MpiWorld>(options);
  }
  check_world(env, comm().rank(), comm().size());
  watch_ = std::make_unique<PeerWatch>(
      cx, comm(), [this, env](int, const std::string& why) { leave(env, why); }, options.timeout,
      hooks);
}

void World::before_leaving(std::function<void()> hook) {
  const std::lock_guard lock(mutex_);
  before_leaving_ = std::move(hook);
}

// On a thread of the watch, while the others may be inside MPI: nothing can be unwound any more.
void World::leave(const RankEnvironment& env, const std::string& why) {
  const std::lock_guard lock(mutex_);
  if (before_leaving_) before_leaving_();
  const std::string text = failure_text(Error(ErrorKind::kComm, why), env);
  console().say(text);
  std::fflush(nullptr);
  _exit(static_cast<int>(ExitCode::kPeerLost));
}

}  // namespace gradwire
