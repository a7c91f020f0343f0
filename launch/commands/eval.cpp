#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/assemble/load_model.h"
#include "launch/assemble/plan.h"
#include "launch/assemble/session.h"
#include "launch/assemble/stages.h"
#include "launch/commands/commands.h"
#include "parallel/pipeline/pipeline.h"
#include "train/run_on_all_ranks.h"

namespace gradwire {
namespace {

// A recipe that leaves something to evaluate on: the loss of nothing would be an invention.
Recipe checked_recipe(const RecipeArgs& args) {
  Recipe recipe = recipe_without_inputs(args);
  check_weights_fit(recipe, read_rank_environment());
  job_of(recipe).check_evaluation(recipe);
  return recipe;
}

}  // namespace

// One JSON object on stdout, so that scripts need not parse text. Changes neither the run nor the
// caches of its data.
ExitCode run_eval(const EvalArgs& args) {
  Session session(checked_recipe(args.recipe), fmt::format("eval --ckpt {}", args.ckpt));
  const Recipe& recipe = session.recipe();
  const std::unique_ptr<Job> job = job_of(recipe).make(recipe);
  const std::vector<std::string> sources = weight_sources(session, *job, args.ckpt);
  JobHost host = session.host();
  job->prepare(host, {.content = Content::kEvaluation, .checkpoints = sources});
  const Stages stages = plan_stages(session.cx(), session.comm(), recipe, *job);
  const std::unique_ptr<Task> task =
      job->build(session.cx(), {session.mesh(), stages}, Content::kEvaluation);
  const LoadResult loaded = load_weights(session, *job, *task, args.ckpt, sources);
  Pipeline pipeline(*session.mesh().pipeline, stages.schedule);
  const std::vector<Sum> found =
      task->evaluate(session.cx(), pipeline, session.comm(), recipe.train.eval_batches);
  if (session.is_first()) {
    nlohmann::json result = {{"checkpoint", loaded.path}, {"step", loaded.step}};
    for (const NamedValue& v : shown(task->metrics(), found))
      result[v.name] = v.value;
    for (const Metric& m : task->metrics()) {
      const auto sum = std::ranges::find(found, m.name, &Sum::name);
      if (sum != found.end() && !m.counted.empty())
        result[m.counted] = std::llround(sum->denominator);
    }
    // A path need be no UTF-8, which alone JSON can hold.
    fmt::print("{}\n", result.dump(-1, ' ', /*ensure_ascii=*/true,
                                   nlohmann::json::error_handler_t::replace));
  }
  return ExitCode::kDone;
}

}  // namespace gradwire
