// A data-parallel group over gradients that stand for a model's: for measuring what the exchanges
// of a recipe take, through all that a training step uses for them.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "parallel/data_parallel.h"

#include "recipe/recipe.h"

namespace gradwire {

class ScratchGroup {
 public:
  // About `elements` normally distributed values in buckets of the recipe's size; compresses if
  // the recipe does. `comm` must outlive it.
  ScratchGroup(Context& cx, Communicator& comm, const Recipe& recipe, std::int64_t elements);

  DataParallel& group() { return *group_; }
  std::int64_t elements() const { return group_->buckets().elements(); }
  // Seconds that the ranks take to agree, the norm of the mean included: on gradients as they are,
  // or compressed. The slowest rank's. Collective.
  double dense_seconds(Context& cx);
  double compressed_seconds(Context& cx);

 private:
  void refill(Context& cx);

  Communicator& comm_;
  std::deque<Parameter> params_;
  std::unique_ptr<DataParallel> group_;
  Tensor values_;  // f32 [of a parameter]
  std::uint64_t step_ = 0;
};

}  // namespace gradwire
