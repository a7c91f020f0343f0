#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/commands.h"
#include "launch/language_model.h"
#include "launch/load_model.h"
#include "launch/plan.h"
#include "launch/recipe_io.h"
#include "launch/run_data.h"
#include "launch/session.h"
#include "train/together.h"

namespace gradwire {
namespace {

// A recipe whose text leaves something to evaluate on: the loss of nothing would be an invention.
Recipe checked_recipe(const RecipeArgs& args) {
  Recipe recipe = recipe_without_text(args);
  check_weights_fit(recipe, read_rank_environment());
  if (recipe.data.validation_share > 0.0) return recipe;
  constexpr const char* kKey = "data.validation_share";
  const Place place = recipe.origins.of(kKey);
  throw RecipeError({{place.file, place.line, kKey,
                      "no text is held out, so there is nothing to evaluate on: give a share above "
                      "0, of texts that the model was not trained on (data.text)"}});
}

}  // namespace

// One JSON object on stdout, so that scripts need not parse text. Changes neither the run nor the
// cache.
ExitCode run_eval(const EvalArgs& args) {
  Session session(checked_recipe(args.recipe), fmt::format("eval --ckpt {}", args.ckpt));
  const std::vector<std::string> sources = weight_sources(session, args.ckpt);
  const RunText text(session, sources);
  std::optional<TokenData> opened;
  together(session.ranks(), [&] { opened.emplace(text.prepared()); });
  const TokenData& data = *opened;
  const Stages stages = plan_stages(session.cx(), session.comm(), session.recipe(),
                                    decoder_config(session.recipe(), data.tokenizer.vocabulary()));
  LanguageModel lm(session.cx(), session.recipe(), data, session.mesh(), stages);
  const LoadResult loaded = load_weights(session, data.tokenizer, lm.model, sources);
  Pipeline pipeline(*session.mesh().pipeline, stages.schedule);
  const std::vector<Sum> found =
      lm.task.evaluate(session.cx(), pipeline, session.comm(), session.recipe().train.eval_batches);
  if (session.is_first()) {
    nlohmann::json result = {{"checkpoint", loaded.path},
                             {"step", loaded.step},
                             {"tokens", std::llround(found.at(0).denominator)}};
    for (const NamedValue& v : shown(lm.task.metrics(), found))
      result[v.name] = v.value;
    fmt::print("{}\n", result.dump());
  }
  return ExitCode::kDone;
}

}  // namespace gradwire
