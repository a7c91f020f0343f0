#include <fmt/format.h>

#include "core/error.h"
#include "launch/assemble/load_model.h"
#include "launch/assemble/plan.h"
#include "launch/assemble/session.h"
#include "launch/assemble/stages.h"
#include "launch/commands/commands.h"

namespace gradwire {
namespace {

const Verb& verb_of(const Recipe& recipe, const std::string& name) {
  for (const Verb& verb : job_of(recipe).verbs())
    if (verb.name == name) return verb;
  throw Error(ErrorKind::kUsage,
              fmt::format("{}: task '{}' has no such command", name, recipe.task));
}

Recipe checked_recipe(const VerbArgs& args) {
  Recipe recipe = recipe_without_inputs(args.recipe);
  verb_of(recipe, args.verb).check(recipe);
  check_weights_fit(recipe, read_rank_environment());
  return recipe;
}

}  // namespace

ExitCode run_verb(const VerbArgs& args) {
  // What else was asked for is in the recipe.
  Session session(checked_recipe(args), fmt::format("{} --ckpt {}", args.verb, args.ckpt));
  const Recipe& recipe = session.recipe();
  if (session.mesh().shape.data > 1) {
    const std::int64_t ranks = recipe.parallel.pipeline;
    throw Error(ErrorKind::kUsage,
                fmt::format("{} runs one replica: start it on {} rank{}", args.verb, ranks,
                            ranks == 1 ? ", without mpirun" : "s"));
  }
  const std::unique_ptr<Job> job = job_of(recipe).make(recipe);
  const std::vector<std::string> sources = weight_sources(session, *job, args.ckpt);
  JobHost host = session.host();
  job->prepare(host, {.content = Content::kModel, .checkpoints = sources});
  const Stages stages = plan_stages(session.cx(), session.comm(), recipe, *job);
  const Position position{session.mesh(), stages};
  const std::unique_ptr<Task> task = job->build(session.cx(), position, Content::kModel);
  load_weights(session, *job, *task, args.ckpt, sources);
  job->carry_out(args.verb, host, *task, position);
  return ExitCode::kDone;
}

}  // namespace gradwire
