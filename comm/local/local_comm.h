// Ranks as threads of one process: for tests, sanitizers, single-process runs and simulations of
// hundreds of workers. The last rank to arrive at a collective carries it out for all, straight
// from and into their memory; messages are copied by whichever side comes second, so a send is done
// only when it has been received.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "comm/communicator.h"

namespace gradwire {

struct LocalOptions {
  std::chrono::milliseconds timeout{300'000};  // of one wait
};

// The communicators of a world of n ranks, for threads that the caller runs.
std::vector<std::unique_ptr<Communicator>> make_local_world(int n, LocalOptions options = {});

// Calls fn on n threads, each with its communicator and an equal share of the cores for its
// parallel loops. When a rank throws, the others are aborted with its cause; after all have ended,
// throws Error of the same kind (kInternal for foreign exceptions) with the rank before the text.
void run_ranks(int n, const std::function<void(Communicator&)>& fn, LocalOptions options = {});

}  // namespace gradwire
