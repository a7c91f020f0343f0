#include "launch/assemble/session.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/parallel_for.h"
#include "launch/assemble/run_facts.h"
#include "launch/assemble/stages.h"
#include "launch/assemble/validate.h"
#include "launch/measure/bf16_choice.h"
#include "launch/start/console.h"

namespace gradwire {
namespace {

Recipe checked_recipe(const RecipeArgs& args, int ranks) {
  Recipe recipe = load_recipe(args);
  validate(recipe, ranks);
  return recipe;
}

std::unique_ptr<Coordinator> of_the_same_run(std::unique_ptr<Coordinator> ranks,
                                             const Recipe& recipe, const std::string& command) {
  check_same_run(*ranks, run_facts(recipe, command));
  return ranks;
}

}  // namespace

Recipe recipe_without_inputs(const RecipeArgs& args) {
  Recipe recipe = load_recipe(args);
  validate(recipe, read_rank_environment().size, Inputs::kNotNeeded);
  return recipe;
}

Session::Session(const RecipeArgs& args, const std::string& command)
    : Session(checked_recipe(args, read_rank_environment().size), command) {}

Session::Session(Recipe recipe, const std::string& command,
                 const std::function<bool()>& stop_requested)
    : env_(read_rank_environment()),
      recipe_(std::move(recipe)),
      device_of_rank_(device_of_rank(recipe_, env_, gpu_count())),
      world_(host_.context(), env_, recipe_, stop_requested),
      ranks_(of_the_same_run(
          make_coordinator(host_.context(), world_.comm(),
                           [this](const std::string& why) { world_.leave(env_, why); }),
          recipe_, command)),
      device_(agree_on_device(device_of_rank_, *ranks_)),
      runtime_({.device = device_.device, .caching = {}}),
      threads_(choose_threads(env_, static_cast<int>(recipe_.train.threads), *ranks_)),
      mesh_(make_mesh(world_.comm(), mesh_shape(recipe_, env_.size))) {
  set_thread_count(threads_.count);
  std::string bf16;
  if (recipe_.precision == "bf16" && runtime_.context().stream.device.type == DeviceType::kCpu) {
    bf16 = set_up_bf16(runtime_.context(), *ranks_);
  }
  if (is_first() && !device_.note.empty()) console().say("warning: " + device_.note);
  if (is_first() && !bf16.empty()) console().say(bf16);
  if (is_first() && !threads_.warning.empty()) console().say("warning: " + threads_.warning);
}

std::string Session::threads_text() const {
  const std::string& source = threads_.source;
  return fmt::format("{} CPU threads each{}", threads_.count,
                     source.empty() ? "" : fmt::format(" ({})", source));
}

}  // namespace gradwire
