#include "launch/session.h"

#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"
#include "core/parallel_for.h"
#include "launch/bf16_choice.h"
#include "launch/console.h"
#include "launch/language_model.h"
#include "launch/recipe_io.h"
#include "launch/same_run.h"
#include "launch/stages.h"
#include "parallel/agreement.h"
#include "train/together.h"

namespace gradwire {
namespace {

Recipe checked_recipe(const RecipeArgs& args, int ranks) {
  Recipe recipe = load_recipe(args.path, args.set);
  validate(recipe, ranks);
  return recipe;
}

std::string paths_text(const PreparedText& p, const std::string& cache) {
  return fmt::format("{}\n{}\n{}\n{}\n", p.tokenizer_path, p.train_path, p.valid_path, cache);
}

// What rank 0 has at `path`, here: its cache may have another path on this host, with {host}.
std::string at_this_host(const std::string& path, const std::string& cache_of_first,
                         const std::string& cache) {
  return path.starts_with(cache_of_first) ? cache + path.substr(cache_of_first.size()) : path;
}

std::unique_ptr<Coordinator> of_the_same_run(std::unique_ptr<Coordinator> ranks,
                                             const Recipe& recipe, const std::string& command) {
  check_same_run(*ranks, run_facts(recipe, command));
  return ranks;
}

}  // namespace

Recipe recipe_without_text(const RecipeArgs& args) {
  Recipe recipe = load_recipe(args.path, args.set);
  validate_without_text(recipe, read_rank_environment().size);
  return recipe;
}

Session::Session(const RecipeArgs& args, const std::string& command)
    : Session(checked_recipe(args, read_rank_environment().size), command) {}

Session::Session(Recipe recipe, const std::string& command,
                 const std::function<bool()>& stop_requested)
    : env_(read_rank_environment()),
      recipe_(std::move(recipe)),
      world_(runtime_.context(), env_, recipe_, stop_requested),
      ranks_(of_the_same_run(
          make_coordinator(runtime_.context(), world_.comm(),
                           [this](const std::string& why) { world_.leave(env_, why); }),
          recipe_, command)),
      threads_(choose_threads(env_, static_cast<int>(recipe_.train.threads), *ranks_)),
      mesh_(make_mesh(world_.comm(), mesh_shape(recipe_, env_.size))) {
  set_thread_count(threads_.count);
  std::string bf16;
  if (recipe_.precision == "bf16" && runtime_.context().stream.device.type == DeviceType::kCpu) {
    bf16 = set_up_bf16(runtime_.context(), *ranks_);
  }
  if (is_first() && !bf16.empty()) console().say(bf16);
  if (is_first() && !threads_.warning.empty()) console().say("warning: " + threads_.warning);
}

std::string Session::threads_text() const {
  const std::string& source = threads_.source;
  return fmt::format("{} CPU threads each{}", threads_.count,
                     source.empty() ? "" : fmt::format(" ({})", source));
}

std::optional<PreparedText> Session::prepare(const std::function<void(const std::string&)>& say,
                                             const std::string& tokenizer,
                                             const std::function<bool()>& stop_requested) {
  PrepareConfig config = prepare_config(recipe_);
  config.tokenizer_model = ranks_->all_gather(tokenizer).front();
  config.stop_requested = stop_requested;
  PreparedText prepared;
  const auto make = [&] {
    try {
      prepared = prepare_text(config, is_first() ? say : nullptr);
    } catch (const PreparationStopped&) {
      return;  // the flag stays, and all ranks ask for it below
    }
  };
  const auto stopped = [&] {
    const double mine = stop_requested && stop_requested() ? 1.0 : 0.0;
    return max_over_ranks(cx(), comm(), mine) > 0.0;
  };
  together(*ranks_, [&] {
    if (is_first()) make();
  });
  if (stopped()) return std::nullopt;
  std::vector<std::string> first =
      lines_of(ranks_->all_gather(paths_text(prepared, recipe_.data.cache)).front());
  for (std::size_t i = 0; i < 3; ++i)
    first[i] = at_this_host(first[i], first[3], recipe_.data.cache);
  const auto look = [&] { prepared = open_prepared(first[0], first[1], first[2]); };
  together(*ranks_, [&] {
    if (is_first() || env_.local_rank != 0) return;
    if (std::filesystem::exists(first[1])) return look();
    make();
    if (prepared.train_path == first[1] || prepared.train_path.empty()) return;
    throw Error(ErrorKind::kData, fmt::format("the text on this host gives {}, that of rank 0 {}: "
                                              "the files of data.text differ",
                                              prepared.train_path, first[1]));
  });
  if (stopped()) return std::nullopt;
  together(*ranks_, [&] {
    if (env_.local_rank != 0) look();
  });
  check_same_data(*ranks_, prepared);
  return prepared;
}

}  // namespace gradwire
