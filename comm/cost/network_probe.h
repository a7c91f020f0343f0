// Measures what a cost model needs to know of the ranks at hand: the network as their own
// communicator sees it, and the speed of a codec on this processor. About a second, a few on a slow
// network. All ranks end with the same numbers.
#pragma once

#include "comm/codec/codec.h"
#include "comm/communicator.h"
#include "comm/cost/network_model.h"

namespace gradwire {

struct NetworkSpeed {
  double latency_s = 0.0;  // of one round: every rank to every other
  double message_s = 0.0;  // of a message to each of the others, if many are sent at once
  double bandwidth = 0.0;  // bytes per second that a rank sends while all do
  // The same during an all-reduce of f32, whose additions take time as well.
  double reducing = 0.0;

  // As links between so many hosts of one rank, for messages or for all-reduces.
  NetworkModel network(int ranks) const { return of(ranks, bandwidth); }
  NetworkModel reducing_network(int ranks) const { return of(ranks, reducing); }

 private:
  NetworkModel of(int ranks, double speed) const {
    return {.hosts = ranks, .bandwidth = speed, .latency_s = latency_s, .message_s = message_s};
  }
};
// One rank has no network: no latency, infinite bandwidth. Collective.
NetworkSpeed probe_network(Context& cx, Communicator& comm);

struct CodecSpeed {
  double encode_s = 0.0;  // per element, with error feedback
  double decode_s = 0.0;  // per element
};
// The slowest of the ranks. Collective.
CodecSpeed probe_codec(Context& cx, Communicator& comm, const Codec& codec);

}  // namespace gradwire
