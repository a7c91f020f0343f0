// Who wakes up in an exchange (Exchange::woken). That somebody does travels as one bit with the
// messages; who it is takes a reduction of a byte for each parameter, in those rare steps alone.
#pragma once

#include "comm/communicator.h"
#include "core/exchange.h"
#include "core/flat_bucket.h"

namespace gradwire {

class WokenParameters {
 public:
  WokenParameters(Context& cx, Communicator& comm, const FlatBucket& layout);

  // Notes which parameters have a coordinate that takes no part and a value on this rank; true if
  // any does. Before the value is changed.
  bool note(const Exchange& e);
  // If note() was true on any rank: tells the exchange of all ranks' parameters. Collective.
  void tell(Context& cx, const Exchange& e);

 private:
  Communicator& comm_;
  const FlatBucket& layout_;
  Tensor woken_;  // u8 [parameters]
};

}  // namespace gradwire
