// What the communicators of the host have in common: arguments are checked here, a call of one rank
// is answered here, and the rest becomes a Call for the transport. Device tensors travel through
// host memory (comm/device_stage.h).
#pragma once

#include "comm/call.h"
#include "comm/call_observer.h"
#include "comm/communicator.h"
#include "comm/device_stage.h"

namespace gradwire {

class HostCommunicator : public Communicator {
 public:
  std::unique_ptr<Communicator> split(int color, int key) final;
  WorkPtr all_reduce(Tensor t, ReduceOp op, const CallOptions& options) final;
  WorkPtr reduce_scatter(Tensor in, Tensor out, ReduceOp op, const CallOptions& options) final;
  WorkPtr all_gather(Tensor in, Tensor out, const CallOptions& options) final;
  WorkPtr all_to_all(Tensor in, Tensor out, const CallOptions& options) final;
  WorkPtr broadcast(Tensor t, int root, const CallOptions& options) final;
  WorkPtr batch_send_recv(std::span<const P2p> group, const CallOptions& options) final;
  void barrier() final;
  void observe(CallObserver* by) final { observer_ = by; }

 protected:
  // Starts a checked call; counts what it sends in the ledger before its wait() returns.
  virtual WorkPtr start(Call call, const CallOptions& options) = 0;
  // The part of a split: `members` are its ranks here, in order; empty if this rank is in none.
  // All ranks call it for the same `split`, a number no other split of this communicator has.
  virtual std::unique_ptr<Communicator> make_part(const std::vector<int>& members,
                                                  std::uint64_t split) = 0;
  // Throws what the world failed with, if it did.
  virtual void check_alive() = 0;

 private:
  WorkPtr submit(Call call, const CallOptions& options);
  DeviceStage stage(const CallOptions& options);
  std::uint64_t collectives_ = 0;
  std::uint64_t exchanges_ = 0;
  CallObserver* observer_ = nullptr;
  std::shared_ptr<Allocator> staging_;  // made for the first device tensor
};

}  // namespace gradwire
