// What every command that computes begins with: the recipe, checked for this number of ranks; the
// ranks themselves; threads and memory. Ends the communication when it goes.
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "core/context.h"
#include "launch/commands/commands.h"
#include "launch/start/device.h"
#include "launch/start/environment.h"
#include "launch/start/threads.h"
#include "launch/start/world.h"
#include "parallel/mesh.h"
#include "train/coordinator.h"

#include "jobs/job.h"
#include "recipe/recipe.h"

namespace gradwire {

// The recipe of a command that can do without the files that its job trains on. Errors:
// RecipeError.
Recipe recipe_without_inputs(const RecipeArgs& args);

class Session {
 public:
  // `command` is what the ranks are about to do with the recipe, with all its options: compared,
  // like the recipe, before anything is made. Collective. Errors: RecipeError, kComm,
  // DifferentRuns; kConfig if the recipe asks for a GPU and this rank sees none.
  Session(const RecipeArgs& args, const std::string& command);
  // With a recipe that was validated for this number of ranks. Throws MeetingStopped if
  // `stop_requested` is true on any rank while ranks meet.
  Session(Recipe recipe, const std::string& command,
          const std::function<bool()>& stop_requested = {});

  const Recipe& recipe() const { return recipe_; }
  const RankEnvironment& env() const { return env_; }
  bool is_first() const { return env_.rank == 0; }
  Device device() const { return device_.device; }
  Context& cx() { return runtime_.context(); }
  Allocator& allocator() { return runtime_.allocator(); }
  Communicator& comm() { return world_.comm(); }
  World& world() { return world_; }
  Coordinator& ranks() { return *ranks_; }
  const Mesh& mesh() const { return mesh_; }
  int threads() const { return threads_.count; }
  // "2 CPU threads each (OMP_NUM_THREADS)"
  std::string threads_text() const;

  // What a job is lent of this.
  JobHost host() { return {cx(), comm(), ranks(), mesh(), env_.local_rank}; }

  std::string run_dir() const { return recipe_.run.dir; }
  std::string checkpoint_dir() const { return recipe_.run.dir + "/checkpoints"; }

 private:
  RankEnvironment env_;
  Recipe recipe_;
  Device device_of_rank_;
  Runtime host_;  // for what ranks tell each other, which never passes through a GPU
  World world_;
  std::unique_ptr<Coordinator> ranks_;
  DeviceChoice device_;
  Runtime runtime_;
  ThreadChoice threads_;
  Mesh mesh_;
};

}  // namespace gradwire
