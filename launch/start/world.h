// The ranks of this run: over MPI or TCP if a launcher started several, else this process alone.
// When a peer dies, this process says which one and ends with exit code 6: whatever it waits for
// will not come.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "comm/mpi/mpi_comm.h"
#include "comm/tcp/tcp_comm.h"
#include "comm/watch/peer_watch.h"
#include "launch/start/environment.h"

#include "recipe/recipe.h"

namespace gradwire {

inline constexpr std::string_view kStoppedWhileMeeting =
    "stopped on request while ranks met; the same command begins again";

class World {
 public:
  // Collective. Errors: kComm; kUsage if MPI counts other ranks than the launcher, or nothing
  // says where ranks are to meet; kIo for descriptors. Throws MeetingStopped if `stop_requested`,
  // which may be empty, is true on any rank before all have met; if MPI is still joining the
  // ranks it ends the process with kStopped, since MPI cannot be told to give up.
  World(Context& cx, const RankEnvironment& env, const Recipe& recipe,
        const std::function<bool()>& stop_requested);
  Communicator& comm() { return mpi_ ? mpi_->comm() : tcp_ ? tcp_->comm() : *alone_.front(); }
  // Called if a lost peer is about to end this process, on another thread: `hook` may end it in
  // its own way. Null: none.
  void before_leaving(std::function<void()> hook);

  // Ends this process over a lost peer, from any thread: whatever it is at is in vain.
  [[noreturn]] void leave(const RankEnvironment& env, const std::string& why);

 private:
  std::mutex mutex_;
  std::function<void()> before_leaving_;  // with the mutex
  std::unique_ptr<MpiWorld> mpi_;
  std::unique_ptr<PeerWatch> watch_;  // TCP needs none: it sees for itself who is gone
  std::unique_ptr<TcpWorld> tcp_;
  std::vector<std::unique_ptr<Communicator>> alone_;
};

}  // namespace gradwire
