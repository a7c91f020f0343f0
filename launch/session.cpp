#include "launch/session.h"

#include <thread>

#include "core/parallel_for.h"
#include "launch/language_model.h"
#include "launch/recipe_io.h"
#include "launch/stages.h"
#include "train/together.h"

namespace gradwire {
namespace {

Recipe checked_recipe(const RecipeArgs& args, int ranks) {
  Recipe recipe = load_recipe(args.path, args.set);
  validate(recipe, ranks);
  return recipe;
}

int threads_of(const Recipe& recipe, const RankEnvironment& env) {
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  return threads_per_rank(env, static_cast<int>(recipe.train.threads), cores);
}

}  // namespace

Session::Session(const RecipeArgs& args)
    : Session(checked_recipe(args, read_rank_environment().size)) {}

Session::Session(Recipe recipe)
    : env_(read_rank_environment()),
      recipe_(std::move(recipe)),
      threads_(threads_of(recipe_, env_)),
      world_(runtime_.context(), env_, recipe_.comm),
      ranks_(make_coordinator(runtime_.context(), world_.comm())),
      mesh_(make_mesh(world_.comm(), mesh_shape(recipe_, env_.size))) {
  set_thread_count(threads_);
}

PreparedText Session::prepare(const std::function<void(const std::string&)>& say) {
  PreparedText prepared;
  const auto phase = [&](bool mine) {
    together(*ranks_, [&] {
      if (mine) prepared = prepare_text(prepare_config(recipe_), is_first() ? say : nullptr);
    });
  };
  phase(is_first());
  phase(!is_first() && env_.local_rank == 0);
  phase(env_.local_rank != 0);
  return prepared;
}

}  // namespace gradwire
