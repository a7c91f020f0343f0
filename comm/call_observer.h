// Sees the calls of one communicator on this rank, as they begin and while they are waited for, so
// that a rank that hangs can be said to hang in something. Called on the threads that call the
// communicator, as often as they do: it must be quick. Owns nothing.
#pragma once

#include <cstdint>

#include "comm/call.h"

namespace gradwire {

struct CallNote {
  static constexpr int kAll = -1;
  CallKind kind = CallKind::kBarrier;
  std::uint64_t sequence = 0;  // as in Call
  int peer = kAll;             // of an exchange: the first message's; a collective has all
};

class CallObserver {
 public:
  virtual ~CallObserver() = default;
  virtual void begins(const CallNote& call) noexcept = 0;
  // From now on a thread does nothing but wait for it ...
  virtual void waits(const CallNote& call) noexcept = 0;
  // ... until now.
  virtual void goes_on() noexcept = 0;
};

}  // namespace gradwire
