// Ranks as processes started by mpirun (or one process started without it). All MPI calls are made
// by one thread of MpiWorld's own; calls of any thread of the program only queue work there, so
// communication overlaps with computation. Messages of a call are cut into pieces, which lifts
// MPI's limit on counts.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "comm/communicator.h"

namespace gradwire {

struct MpiOptions {
  std::chrono::milliseconds timeout{300'000};        // without any progress of a call
  std::int64_t piece_bytes = std::int64_t{4} << 20;  // the same on all ranks
};

class MpiEngine;

// MPI from start to end; once in a process. After a failure or abort MPI is not finalised: that
// would wait for ranks that never come.
class MpiWorld {
 public:
  // Errors: kComm, kUsage for a second one.
  explicit MpiWorld(MpiOptions options = {});
  // Waits for the other ranks to end as well, unless an exception is on its way: then they are
  // aborted. Communicators split from comm() must be gone.
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  Communicator& comm() { return *comm_; }

 private:
  std::shared_ptr<MpiEngine> engine_;
  std::unique_ptr<Communicator> comm_;
  int exceptions_;
};

}  // namespace gradwire
