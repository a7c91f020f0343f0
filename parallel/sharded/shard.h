// This rank's part of a set of buckets, for updates that every rank makes for its part alone (ZeRO
// stage 1: Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter
// models", SC 2020, section 5.1). Every bucket is cut into one equal slice per rank, the chunks of
// the two-phase exchange. To an update rule a slice looks like a bucket, and what of a parameter
// lies in it like a parameter. Owns the values, in the buckets' layout, so that slices are gathered
// in place; does not update anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "comm/communicator.h"
#include "core/flat_bucket.h"
#include "core/state.h"

namespace gradwire {

class Shard {
 public:
  // The values of the buckets' parameters move into buffers like the gradients'. `comms` are the
  // ranks that share each bucket; they and the parameters must outlive this object. Errors: kUsage
  // for a bucket that has no equal slices.
  Shard(Context& cx, std::vector<Communicator*> comms, std::span<const FlatBucket> whole);
  // The same ranks for all.
  Shard(Context& cx, Communicator& comm, std::span<const FlatBucket> whole);
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  Communicator& comm(std::size_t bucket) const { return *comms_[bucket]; }
  std::span<const FlatBucket> whole() const { return whole_; }
  // By bucket, this rank's slice. Every parameter of the bucket has a piece in it, of its name,
  // flat and often empty; values and gradients are views of the whole ones.
  std::span<const FlatBucket> slices() const { return slices_; }
  std::vector<Parameter*> pieces();
  std::int64_t slice_begin(std::size_t bucket) const {
    return comm(bucket).rank() * slices_[bucket].numel();
  }

  // The gradients of a step are in place: pieces of parameters without one (DataParallel's sets
  // that no rank touched) have none either.
  void take_over_empty_gradients();
  bool is_untouched(std::size_t bucket) const;

  // Sends this rank's slice of a bucket's values to all, and takes theirs; wait() for all that were
  // submitted. Raises the parameters' versions. Collective.
  void gather(Context& cx, std::size_t bucket);
  void wait(Context& cx);

  // Shows `to` the state of a rule over the pieces, which `walk` walks, as slices of the whole
  // parameters' state under the same names: tensors are <rule>/<parameter>/<what>, of the piece's
  // size. Errors: kInternal for a tensor that is named otherwise.
  void visit_pieces(StateVisitor& to, const std::function<void(StateVisitor&)>& walk) const;

 private:
  struct Place {
    std::int64_t begin = 0, full = 0;  // of a piece in its parameter
  };
  class PieceVisitor;
  void add_slice(std::size_t bucket);

  std::vector<Communicator*> comms_;  // by bucket
  std::vector<FlatBucket> whole_, slices_;
  std::vector<Tensor> values_;    // by bucket, f32, 0 in the gaps
  std::deque<Parameter> pieces_;  // in the order of the buckets
  std::unordered_map<std::string_view, Place> place_of_;
  std::vector<WorkPtr> gathers_;
};

}  // namespace gradwire
