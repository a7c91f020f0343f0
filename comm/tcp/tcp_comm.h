// Ranks as processes joined by TCP connections of their own, every rank with every other: commodity
// Ethernet without MPI. One thread of TcpWorld's moves all bytes and sleeps in the kernel while
// there are none, so that communication costs little of the processor and overlaps with computing.
// A peer that dies is noticed at once, by its closed connection, and named.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "comm/meeting.h"

namespace gradwire {

struct TcpOptions {
  int rank = 0;
  int size = 1;
  // Where rank 0 listens while the ranks find each other: tried in order, all with one port. Rank 0
  // listens at what they mean on its host (comm/tcp/doors.h).
  std::vector<std::string> addresses{"127.0.0.1"};
  std::uint16_t port = 29400;
  int listener = -1;  // rank 0: a listening socket to use (and close) instead; -1: none
  // Known to the ranks of this job only: keeps other jobs and strangers out. It is proved, and
  // never sent (comm/proof.h).
  std::string token{};
  std::chrono::milliseconds greeting{15'000};  // within which who connects must prove who it is
  std::chrono::milliseconds timeout{300'000};  // to meet, and without any progress of a call
  std::int64_t piece_bytes = std::int64_t{4} << 20;  // the same on all ranks
  int connections = 1;    // for data, to each peer; the same on all ranks
  bool one_host = false;  // all ranks run on this host
  MeetingHooks hooks{};
};

class TcpEngine;

class TcpWorld {
 public:
  // Collective: returns when every rank is connected to every other. Errors: kComm, naming the
  // ranks that did not come, or were lost meanwhile; kUsage for options that make no world; kIo for
  // more connections than this process may have descriptors. Throws MeetingStopped.
  explicit TcpWorld(const TcpOptions& options);
  // Waits for the other ranks to end as well, unless an exception is on its way: then they are
  // aborted. Communicators split from comm() must be gone.
  ~TcpWorld();
  TcpWorld(const TcpWorld&) = delete;
  TcpWorld& operator=(const TcpWorld&) = delete;

  Communicator& comm() { return *comm_; }

 private:
  std::shared_ptr<TcpEngine> engine_;
  std::unique_ptr<Communicator> comm_;
  int exceptions_;
};

}  // namespace gradwire
