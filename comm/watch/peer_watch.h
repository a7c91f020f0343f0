// Tells every rank within about a second when another is gone. A killed process cannot say so, and
// MPI only ends the job: beside the data each rank keeps one TCP connection to rank 0, and the
// operating system closes a dead process's connections. Rank 0 passes the news on, so that all
// survivors know who was lost and can say so before the launcher ends them. Never carries data.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/meeting.h"

namespace gradwire {

class PeerWatch {
 public:
  // Called once at most, on a thread of the watch, which it must not destroy. `why` is a sentence:
  // "rank 2 on host b was lost at 14:03:22: its connection closed without a goodbye". By then the
  // others have been told.
  using OnLost = std::function<void(int rank, const std::string& why)>;

  // Collective; returns when all ranks are connected. Rank 0 listens on a port that the system
  // chooses, on loopback if all ranks share a host, until all are connected; a random token, which
  // ranks hear of through `comm` and prove to know (comm/proof.h), keeps strangers out. Errors:
  // kComm, naming the ranks that are lost meanwhile, or missing when `timeout` runs out; the hooks
  // are told of those after seconds. Throws MeetingStopped. Later, a rank whose host has been
  // silent for `timeout` is lost, though its connection has not been closed.
  PeerWatch(Context& cx, Communicator& comm, OnLost on_lost,
            std::chrono::milliseconds timeout = std::chrono::seconds(60), MeetingHooks hooks = {});
  // Says goodbye, so that leaving is no loss; with an exception on its way, tells the others
  // instead. Ranks should leave together.
  ~PeerWatch();
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;

  // Every other rank's on_lost is called with this rank and `why`.
  void abort(const std::string& why);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
  int exceptions_;
};

}  // namespace gradwire
