// How far ranks' clocks are apart, by asking rank 0 for its time: what came back in the shortest
// round trip cannot be wrong by more than half of it (Cristian, "Probabilistic clock
// synchronization", Distributed Computing 3, 1989). Clocks drift: measure again for a later time.
#pragma once

#include <functional>
#include <span>

#include "comm/communicator.h"
#include "core/context.h"

namespace gradwire {

struct ClockOffset {
  double offset_s = 0.0;  // rank 0's clock minus this rank's
  double error_s = 0.0;   // at most
};

// For each of `ranks`, in turn; the same list on rank 0 and on those ranks, and a no-op on others.
// Rank 0 gets no offset. Errors: kComm.
ClockOffset measure_clock_offset(Context& cx, Communicator& comm, std::span<const int> ranks,
                                 const std::function<double()>& now_s);

}  // namespace gradwire
