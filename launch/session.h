// What every command that computes begins with: the recipe, checked for this number of ranks; the
// ranks themselves; threads and memory; the prepared text. Ends the communication when it goes.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "comm/communicator.h"
#include "core/context.h"
#include "data/prepare.h"
#include "launch/commands.h"
#include "launch/environment.h"
#include "launch/recipe.h"
#include "launch/world.h"
#include "parallel/mesh.h"
#include "train/checkpoint_coordinator.h"

namespace gradwire {

class Session {
 public:
  // Collective. Errors: RecipeError, kComm.
  explicit Session(const RecipeArgs& args);
  // With a recipe that was validated for this number of ranks.
  explicit Session(Recipe recipe);

  const Recipe& recipe() const { return recipe_; }
  const RankEnvironment& env() const { return env_; }
  bool is_first() const { return env_.rank == 0; }
  Context& cx() { return runtime_.context(); }
  Allocator& allocator() { return runtime_.allocator(); }
  Communicator& comm() { return world_.comm(); }
  World& world() { return world_; }
  Coordinator& ranks() { return *ranks_; }
  const Mesh& mesh() const { return mesh_; }
  int threads() const { return threads_; }

  // Rank 0 prepares the text, then the first rank of every other host (which finds it done where
  // they share the folder), then all others look. `say` is called on rank 0. Collective.
  PreparedText prepare(const std::function<void(const std::string&)>& say);

  std::string run_dir() const { return recipe_.run.dir; }
  std::string checkpoint_dir() const { return recipe_.run.dir + "/checkpoints"; }

 private:
  RankEnvironment env_;
  Recipe recipe_;
  int threads_;
  Runtime runtime_;
  World world_;
  std::unique_ptr<Coordinator> ranks_;
  Mesh mesh_;
};

}  // namespace gradwire
