// What every command that computes begins with: the recipe, checked for this number of ranks; the
// ranks themselves; threads and memory; the prepared text. Ends the communication when it goes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "comm/communicator.h"
#include "core/context.h"
#include "data/prepare.h"
#include "launch/commands.h"
#include "launch/environment.h"
#include "launch/recipe.h"
#include "launch/threads.h"
#include "launch/world.h"
#include "parallel/mesh.h"
#include "train/checkpoint_coordinator.h"

namespace gradwire {

// The recipe of a command that can do without the files of data.text. Errors: RecipeError.
Recipe recipe_without_text(const RecipeArgs& args);

class Session {
 public:
  // `command` is what the ranks are about to do with the recipe, with all its options: compared,
  // like the recipe, before anything is made. Collective. Errors: RecipeError, kComm,
  // DifferentRuns.
  Session(const RecipeArgs& args, const std::string& command);
  // With a recipe that was validated for this number of ranks. Throws MeetingStopped if
  // `stop_requested` is true on any rank while ranks meet.
  Session(Recipe recipe, const std::string& command,
          const std::function<bool()>& stop_requested = {});

  const Recipe& recipe() const { return recipe_; }
  const RankEnvironment& env() const { return env_; }
  bool is_first() const { return env_.rank == 0; }
  Context& cx() { return runtime_.context(); }
  Allocator& allocator() { return runtime_.allocator(); }
  Communicator& comm() { return world_.comm(); }
  World& world() { return world_; }
  Coordinator& ranks() { return *ranks_; }
  const Mesh& mesh() const { return mesh_; }
  int threads() const { return threads_.count; }
  // "2 CPU threads each (OMP_NUM_THREADS)"
  std::string threads_text() const;

  // Rank 0 prepares the text; the first rank of every other host takes what rank 0 has made if they
  // share the folder, else prepares too; all others look. So texts are read once, not once for
  // every rank. `tokenizer` is a model to use instead of training one, or empty; rank 0's counts.
  // `say` is called on rank 0. Nothing if `stop_requested`, which may be empty, is true on any rank
  // before the text is there; the ranks that prepare ask it meanwhile. Errors: kData if the text of
  // a host is not rank 0's. Collective.
  std::optional<PreparedText> prepare(const std::function<void(const std::string&)>& say,
                                      const std::string& tokenizer = "",
                                      const std::function<bool()>& stop_requested = {});

  std::string run_dir() const { return recipe_.run.dir; }
  std::string checkpoint_dir() const { return recipe_.run.dir + "/checkpoints"; }

 private:
  RankEnvironment env_;
  Recipe recipe_;
  Runtime runtime_;
  World world_;
  std::unique_ptr<Coordinator> ranks_;
  ThreadChoice threads_;
  Mesh mesh_;
};

}  // namespace gradwire
