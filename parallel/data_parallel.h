// Keeps the replicas of a data-parallel group together: the same parameters at the start, and in
// every step the mean of the gradients, exchanged bucket by bucket while backward still runs, or of
// what an optimizer wants agreed on instead, through a reducer that compresses. Knows when to
// submit, not how ranks come to agree (the reducers) nor what is done with the result. In a
// pipeline the group is that of one stage.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"
#include "comm/reducer/reducer.h"
#include "core/tape.h"
#include "parallel/grad_buckets.h"
#include "parallel/norm_sketch.h"

namespace gradwire {

// A parameter that two stages of a pipeline hold: its gradient is the sum of theirs. All ranks of
// both stages form one group, so that both ends get the same bits however gradients are compressed.
struct TiedParameter {
  std::string name;
  Communicator* comm = nullptr;  // the ranks of both stages, of all replicas
  bool counts = true;            // here, in the norm of the gradient: at one end only
  std::unique_ptr<Reducer> (*dense)(Communicator& comm) = make_dense_reducer;
};

struct DataParallelOptions {
  std::int64_t bucket_bytes = std::int64_t{4} << 20;
  std::vector<std::string> uncompressed{};  // patterns of parameters' names
  // In a pipeline: the stages of this rank's replica, whose gradients have one norm together.
  Communicator* stages = nullptr;
  std::optional<TiedParameter> tied{};
  std::vector<Parameter*> frozen{};  // never exchanged, but compared like those that are trained
  // Sets of `params` of which a step may touch none (Task::conditional()).
  std::vector<ParameterSet> conditional{};
};

// Whose gradients are averaged as they are in a step.
enum class Averaged : std::uint8_t {
  kAll,
  kUncompressed,  // of the uncompressed ones; the others' stay this rank's for agree() and the like
};

// What the busiest rank sends in a step: all gradients as they are; and compressed, with the
// gradients of uncompressed parameters as they are and the sums for the norm of the mean.
struct StepBytes {
  std::int64_t dense = 0;
  std::int64_t compressed = 0;
};

class DataParallel : public Stateful {
 public:
  // `params` are the trainable ones, in order of declaration, the same on all ranks; they and
  // `comm` must outlive this object. Their gradients move into buckets. `dense` averages gradients
  // while backward runs.
  DataParallel(Context& cx, Communicator& comm, std::unique_ptr<Reducer> dense,
               std::span<Parameter* const> params, DataParallelOptions options = {});

  // Buckets that are agreed on by the same ranks: the first group has all but a tied parameter.
  std::size_t groups() const { return groups_.size(); }
  Communicator& comm(std::size_t group = 0) { return *groups_.at(group).comm; }
  std::span<const FlatBucket> layout(std::size_t group) const { return groups_.at(group).layout; }
  std::vector<Communicator*> comms() const;  // by bucket
  // What goes through agree() and compress_gradients() from now on; made for layout(group).
  void compress_with(std::unique_ptr<Reducer> compressed, std::size_t group = 0) {
    groups_.at(group).compressed = std::move(compressed);
  }
  bool compresses() const { return groups_.front().compressed != nullptr; }

  // Every parameter that takes part becomes that of the first rank of its group, so that replicas
  // begin alike whatever made their initial values. Collective.
  void broadcast(Context& cx);

  // For a step's tapes before their backward, of which each parameter is on `passes`: a bucket is
  // submitted when all its gradients are final, in the order of the buckets on every rank whatever
  // the order in which they become ready. Earlier tapes of the step may be left out. `cx` must
  // outlive the backward.
  void overlap(Context& cx, Tape& tape, int passes = 1);
  // The gradient of the tied parameter is final here; a no-op if there is none.
  void submit_tied(Context& cx);
  // After the last backward: submits what is left, with zeros for gradients that nothing reached,
  // and waits. Then every gradient that is averaged is the mean over the ranks (of this rank's
  // slices of the buckets, with a reducer that scatters), and none is empty but those of
  // conditional sets that no rank touched: nothing of these is sent, now or by what follows in this
  // step. The ranks agree on which these are by a bit for each set.
  void finish_gradients(Context& cx);
  // Holds from the next step on.
  void average(Averaged which) { averaged_ = which; }

  // The norm of the mean gradient over all ranks and stages, the same on all of them: exact if
  // gradients were averaged, estimated if not (parallel/norm_sketch.h, with signs of this step).
  // Not finite if any rank's gradient is not. Collective.
  double mean_gradient_norm(Context& cx, std::uint64_t step);
  // Every gradient becomes weight times its mean, agreed on by compression if it was not
  // averaged before. The gradients must be finite.
  void compress_gradients(Context& cx, double weight);
  // By bucket; those without an exchange are passed over. Errors: kUsage as Reducer::submit().
  void agree(Context& cx, std::span<const std::optional<Exchange>> exchanges);

  // Compares the parameters that take part, and the frozen ones, with those of the other ranks
  // (replica_check.h).
  // Collective. Errors: kNumeric.
  void check_replicas(Context& cx, std::int64_t step);

  // What the reducers have to say, for the log; often empty.
  std::string take_log_message();
  // With so many replicas, whatever their number here.
  StepBytes sent_bytes(int replicas) const;
  // Seconds spent waiting for or compressing for others since the last call of this.
  double take_wait_seconds();

  const GradBuckets& buckets() const { return buckets_; }
  // The reducers'.
  void visit_state(StateVisitor& v) override;

 private:
  struct Group {
    Communicator* comm;
    std::unique_ptr<Reducer> dense, compressed;
    float weight = 1.0F;  // of a gradient: the ranks of a replica that are in it
    bool counts = true;   // in the norm
    std::vector<std::size_t> buckets{};
    std::vector<FlatBucket> layout{};
  };
  struct Place {
    std::size_t group = 0, bucket = 0;  // of the group's
  };

  Group& group_of(std::size_t bucket) { return groups_[places_[bucket].group]; }
  void mark_ready(Context& cx, const Parameter& p);
  void leave_out_untouched(Context& cx);
  void submit(Context& cx, std::size_t bucket);
  void submit_in_order(Context& cx);
  double squared_norm(Context& cx, Group& g, std::uint64_t step);
  bool is_conditional(std::size_t bucket) const {
    return buckets_.set_of(bucket) != GradBuckets::kNoSet;
  }
  bool is_averaged(std::size_t bucket) const {
    return averaged_ == Averaged::kAll || buckets_[bucket].uncompressed;
  }

  Communicator* stages_;
  GradBuckets buckets_;
  std::size_t sets_ = 0;  // conditional
  std::vector<Parameter*> frozen_;
  std::vector<Group> groups_;
  std::vector<Place> places_;  // by bucket
  NormSketch sketch_;
  Averaged averaged_ = Averaged::kAll;
  bool overlaps_ = false;             // a tape of this step has been told of
  std::vector<std::size_t> waiting_;  // by bucket: gradients that are not final yet
  std::vector<bool> submitted_;       // by bucket, in this step
  std::vector<bool> left_out_;        // by bucket, in this step: of a set that no rank touched
  std::vector<std::optional<Exchange>> exchanges_;  // of compress_gradients()
  std::vector<Tensor> local_;                       // of mean_gradient_norm()
  double wait_seconds_ = 0.0;
};

}  // namespace gradwire
