// One recipe with its gradients exchanged in other ways: for tables that set them beside each
// other.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "parallel/data_parallel.h"
#include "parallel/mesh.h"

#include "jobs/job.h"
#include "recipe/recipe.h"

namespace gradwire {

// The recipe on so many workers, without stages: a global batch that does not divide among them
// becomes the next larger one that does.
Recipe for_workers(Recipe recipe, int workers);
// Gradients as they are, or by another compress.method and compress.codec; AdamW instead of a rule
// that exchanges something else.
Recipe with_dense_exchange(Recipe recipe);
Recipe with_exchange(Recipe recipe, const std::string& method, const std::string& codec);
// "dense f32", "ef, topk 1 %"
std::string exchange_name(const Recipe& recipe);

// Seconds that a worker computes in a step, forward, backward and update of its share of the batch:
// the median of a few steps of this process alone.
double measured_compute(Context& cx, const Recipe& recipe, int workers);

// The gradients of a recipe's model with the reducers of one kind of exchange after the other, for
// forecasts for so many workers. Its group has one rank.
class RecipeExchange {
 public:
  RecipeExchange(Context& cx, const Recipe& recipe, int workers);
  void use(Context& cx, const Recipe& kind);
  const DataParallel& group() const { return *group_; }

 private:
  std::vector<std::unique_ptr<Communicator>> alone_;
  Mesh mesh_;
  Stages stages_;
  std::unique_ptr<Job> job_;
  std::unique_ptr<Task> task_;
  std::unique_ptr<DataParallel> group_;
};

}  // namespace gradwire
