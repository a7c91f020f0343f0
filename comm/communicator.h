// How ranks talk: about ten calls, one contract, several transports (threads, MPI, NCCL). Every
// tensor call is asynchronous and returns a handle; collectives of one communicator run in the
// order of the calls, which must be the same on every rank. Every wait is bounded: a peer that does
// not come, or has died, is an Error(kComm) that names what was waited for, and from then on the
// whole world (a communicator and everything split from it) is unusable.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comm/cost/wire_ledger.h"
#include "core/tensor.h"

namespace gradwire {

// kMean is the sum times 1/size, scaled before the one rounding; floats only. A NaN anywhere makes
// kMax and kMin NaN. kOr is the bitwise OR; integers only.
enum class ReduceOp : std::uint8_t { kSum, kMean, kMax, kMin, kOr };

class Work {
 public:
  virtual ~Work() = default;
  // Orders `on` after the operation; on the CPU returns when it is done. Throws what it failed
  // with. A handle dropped before its operation is done fails the world.
  virtual void wait(Stream on) = 0;
};
using WorkPtr = std::unique_ptr<Work>;

struct P2p {
  enum class Dir : std::uint8_t { kSend, kRecv } dir;
  int peer;
  Tensor buffer;
};

// What a call is ordered after, and how the ledger counts it.
struct CallOptions {
  static constexpr std::int64_t kAsSent = -1;
  CallOptions(Stream stream, Traffic kind = Traffic::kControl, std::int64_t dense = kAsSent)
      : after(stream), traffic(kind), dense_bytes(dense) {}

  Stream after;  // the stream whose work so far must be done before a tensor is read
  Traffic traffic;
  std::int64_t dense_bytes;  // what the exchange would have sent as dense f32
};

class CallObserver;

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string describe() const = 0;  // "mpi (Open MPI v4.1.4), 4 ranks"

  // Ranks with equal color form a group, ordered by (key, rank). Collective and blocking. A
  // negative color gives a null pointer.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

  // The handle keeps the tensors alive; they must not be touched before wait(). Reductions: f32,
  // f64, bf16 (summed in f32, rounded once), i32, i64, u8, always in the order of the ranks, so
  // that the result is bitwise equal on all ranks and on all transports of the host. In a
  // reduce-scatter and an all-gather the smaller tensor may be this rank's part of the larger one.
  // Errors: kShape, kDevice for arguments that do not fit.
  virtual WorkPtr all_reduce(Tensor t, ReduceOp op, const CallOptions& options) = 0;  // in place
  virtual WorkPtr reduce_scatter(Tensor in, Tensor out, ReduceOp op,
                                 const CallOptions& options) = 0;                     // [n*k]->[k]
  virtual WorkPtr all_gather(Tensor in, Tensor out, const CallOptions& options) = 0;  // [k]->[n*k]
  virtual WorkPtr all_to_all(Tensor in, Tensor out,
                             const CallOptions& options) = 0;                     // [n*k]->[n*k]
  virtual WorkPtr broadcast(Tensor t, int root, const CallOptions& options) = 0;  // in place
  // One group of sends and receives with no order among them, and none against the collectives;
  // messages between two ranks arrive in the order in which they were given.
  virtual WorkPtr batch_send_recv(std::span<const P2p> group, const CallOptions& options) = 0;
  virtual void barrier() = 0;

  // Makes every other rank's pending and later call fail with `why`, so that one rank's error is
  // never another's hang. Reaches the whole world.
  virtual void abort(const std::string& why) noexcept = 0;

  // Counts for this rank, shared by the whole world.
  virtual WireLedger& ledger() = 0;

  // From now on `by` hears of this communicator's calls (comm/call_observer.h), and of none of its
  // parts'; null: nobody does. It must outlive the handles of those calls.
  virtual void observe(CallObserver* by) = 0;
};

}  // namespace gradwire
