// Keeps the replicas of a data-parallel group together: the same parameters at the start, and in
// every step the mean of the gradients, exchanged bucket by bucket while backward still runs, or of
// what an optimizer wants agreed on instead, through a reducer that compresses. Knows when to
// submit, not how ranks come to agree (the reducers) nor what is done with the result.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "comm/reducer.h"
#include "core/tape.h"
#include "parallel/grad_buckets.h"
#include "parallel/norm_sketch.h"

namespace gradwire {

struct DataParallelOptions {
  std::int64_t bucket_bytes = std::int64_t{4} << 20;
  std::vector<std::string> apart{};  // patterns of parameters that are never compressed
};

// Whose gradients are averaged as they are in a step.
enum class Averaged : std::uint8_t {
  kAll,
  kApart,  // of the parameters set apart; the others' stay this rank's for agree() and the like
};

class DataParallel : public Stateful {
 public:
  // `params` are the trainable ones, in order of declaration, the same on all ranks; they and
  // `comm` must outlive this object. Their gradients move into buckets. `dense` averages gradients
  // while backward runs.
  DataParallel(Context& cx, Communicator& comm, std::unique_ptr<Reducer> dense,
               std::span<Parameter* const> params, DataParallelOptions options = {});

  // What goes through agree() and compress_gradients() from now on; made for buckets().all().
  void compress_with(std::unique_ptr<Reducer> compressed) { compressed_ = std::move(compressed); }
  bool compresses() const { return compressed_ != nullptr; }

  // Every given parameter (frozen ones too) becomes rank 0's.
  void broadcast(Context& cx, std::span<Parameter* const> params);

  // For the tape of the step's last micro-batch, before its backward: a bucket is submitted when
  // all its gradients are final, in the order of the buckets on every rank whatever the order in
  // which they become ready. `cx` must outlive the backward.
  void overlap(Context& cx, Tape& tape);
  // After the last backward: submits what is left, with zeros for gradients that nothing reached,
  // and waits. Then every gradient that is averaged is the mean over the ranks, and none is empty.
  void finish_gradients(Context& cx);
  // Holds from the next step on.
  void average(Averaged which) { averaged_ = which; }

  // The norm of the mean gradient over all ranks, the same on all of them: exact where gradients
  // were averaged, estimated where not (parallel/norm_sketch.h, with signs of this step). Not
  // finite where any rank's gradient is not. Collective.
  double mean_gradient_norm(Context& cx, std::uint64_t step);
  // Every gradient becomes weight times its mean, agreed on by compression where it was not
  // averaged before. The gradients must be finite.
  void compress_gradients(Context& cx, double weight);
  // By bucket; those without a value are passed over.
  void agree(Context& cx, std::span<const Exchange> exchanges);

  // What the reducers have to say, for the log; often empty.
  std::string take_news();
  // Seconds spent waiting for or compressing for others since the last call of this.
  double take_wait_seconds();

  Communicator& comm() { return comm_; }
  const GradBuckets& buckets() const { return buckets_; }
  // The reducers'.
  void visit_state(StateVisitor& v) override;

 private:
  void mark_ready(Context& cx, const Parameter& p);
  void submit_next(Context& cx);
  bool is_averaged(std::size_t bucket) const {
    return averaged_ == Averaged::kAll || buckets_.is_apart(bucket);
  }

  Communicator& comm_;
  std::unique_ptr<Reducer> dense_;
  std::unique_ptr<Reducer> compressed_;
  GradBuckets buckets_;
  NormSketch sketch_;
  Averaged averaged_ = Averaged::kAll;
  std::vector<std::size_t> waiting_;  // by bucket: gradients that are not final yet
  std::size_t submitted_ = 0;         // buckets of this step
  std::vector<Exchange> exchanges_;   // of compress_gradients()
  std::vector<Tensor> local_;         // of mean_gradient_norm()
  double wait_seconds_ = 0.0;
};

}  // namespace gradwire
