#include "launch/world.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include <fmt/format.h>
#include <unistd.h>

#include "comm/local_comm.h"
#include "core/error.h"
#include "launch/console.h"
#include "launch/exit_code.h"
#include "launch/libraries.h"
#include "launch/rendezvous.h"
#include "launch/waiting_note.h"

namespace gradwire {
namespace {

// Ranks that a launcher starts together are there before.
constexpr std::chrono::seconds kLongWait(10);

// One rank of each host says it.
std::string waiting_text(const RankEnvironment& env) {
  if (env.local_rank != 0) return "";
  return fmt::format("[rank {}] waiting for the other ranks: {}", env.rank, to_text(env));
}

}  // namespace

World::World(Context& cx, const RankEnvironment& env, const CommRecipe& recipe) {
  if (env.size == 1) {
    alone_ = make_local_world(1);
    return;
  }
  const EnvironmentLookup lookup = [](const char* name) { return std::getenv(name); };
  const WaitingNote note(kLongWait, waiting_text(env));
  if (transport_of(env, recipe) == Transport::kTcp) {
    tcp_ = std::make_unique<TcpWorld>(find_rendezvous(env, recipe, lookup));
    return;
  }
  check_mpi_can_join(env, recipe, lookup, mpi_version());
  MpiOptions options;
  options.timeout = std::chrono::seconds(recipe.timeout_s);
  mpi_ = std::make_unique<MpiWorld>(options);
  check_world(env, comm().rank(), comm().size());
  watch_ = std::make_unique<PeerWatch>(
      cx, comm(), [this, env](int, const std::string& why) { leave(env, why); }, options.timeout);
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
