// The part of a run that learns, as the recipe has it: the data-parallel group with its reducers,
// and the optimizer over the group's buckets.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "comm/codec/codec.h"
#include "comm/communicator.h"
#include "core/parameter_set.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"
#include "parallel/data_parallel.h"
#include "parallel/mesh.h"
#include "parallel/sharded/shard.h"
#include "train/update.h"

#include "recipe/recipe.h"

namespace gradwire {

class Learner {
 public:
  // `trained` and `frozen` are the parameters of this rank's stages; they and `mesh` must outlive
  // it. `tied` names the parameter that the first and the last stage share, or is empty.
  // `conditional` are sets of trained ones that a step may leave out (Task::conditional()). Errors:
  // kConfig for what validate() cannot know.
  Learner(Context& cx, const Mesh& mesh, const Recipe& recipe, const ParameterSet& trained,
          ParameterSet frozen, const std::string& tied = "",
          const std::vector<ParameterSet>& conditional = {});

  DataParallel& ranks() { return ranks_; }
  Optimizer& optimizer() { return *optimizer_; }

 private:
  DataParallel ranks_;
  std::optional<Shard> shard_;
  std::unique_ptr<Optimizer> optimizer_;
};

UpdateOptions update_options(const Recipe& recipe);
ScheduleConfig schedule_config(const Recipe& recipe);

CodecConfig codec_config(const CompressRecipe& recipe);
// Of the buckets that so many ranks exchange: parallel.bucket_bytes, or a size that fits them.
std::int64_t bucket_bytes(const Recipe& recipe, int ranks);
// The reducer that compresses, for a recipe that does. Lifetimes as of make_compressed_reducer().
std::unique_ptr<Reducer> make_compressed(Context& cx, Communicator& comm, const Recipe& recipe,
                                         std::span<const FlatBucket> buckets);

}  // namespace gradwire
