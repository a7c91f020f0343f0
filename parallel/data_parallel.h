// Keeps the replicas of a data-parallel group together: the same parameters at the start, and after
// every backward the mean of the gradients, exchanged bucket by bucket while backward still runs.
// Knows when to submit, not how ranks come to agree (the reducer) nor what is done with the result.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "comm/reducer.h"
#include "core/tape.h"
#include "parallel/grad_buckets.h"

namespace gradwire {

struct DataParallelOptions {
  std::int64_t bucket_bytes = std::int64_t{4} << 20;
};

class DataParallel : public Stateful {
 public:
  // `params` are the trainable ones, in order of declaration, the same on all ranks; they and
  // `comm` must outlive this object. Their gradients move into buckets.
  DataParallel(Context& cx, Communicator& comm, std::unique_ptr<Reducer> reducer,
               std::span<Parameter* const> params, DataParallelOptions options = {});

  // Every given parameter (frozen ones too) becomes rank 0's.
  void broadcast(Context& cx, std::span<Parameter* const> params);

  // For the tape of the step's last micro-batch, before its backward: a bucket is submitted when
  // all its gradients are final, in the order of the buckets on every rank whatever the order in
  // which they become ready. `cx` must outlive the backward.
  void overlap(Context& cx, Tape& tape);
  // After the last backward: submits what is left, with zeros for gradients that nothing reached,
  // and waits. Then every gradient is the mean over the ranks, and none is empty.
  void finish_gradients(Context& cx);
  // The mean of other tensors (momentum after local_update), instead of the gradients' or beside
  // it. They must not be empty and of the same shapes on all ranks.
  void average(Context& cx, std::span<const Tensor> tensors);

  // Seconds that finish_gradients() and average() spent waiting since the last call of this.
  double take_wait_seconds();

  Communicator& comm() { return comm_; }
  const GradBuckets& buckets() const { return buckets_; }
  // The reducer's.
  void visit_state(StateVisitor& v) override { reducer_->visit_state(v); }

 private:
  void mark_ready(Context& cx, const Parameter& p);
  void submit_next(Context& cx);

  Communicator& comm_;
  std::unique_ptr<Reducer> reducer_;
  GradBuckets buckets_;
  std::vector<std::size_t> waiting_;  // by bucket: gradients that are not final yet
  std::size_t submitted_ = 0;         // buckets of this step
  double wait_seconds_ = 0.0;
};

}  // namespace gradwire
