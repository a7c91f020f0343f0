#include <cstdio>

#include <fmt/format.h>

#include "core/error.h"
#include "launch/commands.h"
#include "launch/field.h"
#include "launch/language_model.h"
#include "launch/load_model.h"
#include "launch/plan.h"
#include "launch/run_data.h"
#include "launch/samples.h"
#include "launch/session.h"

namespace gradwire {
namespace {

template <class T>
void option(std::vector<std::string>& set, const char* key, const std::optional<T>& value) {
  if (value) set.push_back(fmt::format("{}={}", key, toml_text(*value)));
}

// The options are keys of the recipe under other names, and are checked as those are.
Recipe recipe_with_options(const GenerateArgs& args) {
  RecipeArgs with_options = args.recipe;
  option(with_options.set, "generate.tokens", args.tokens);
  option(with_options.set, "generate.top_k", args.top_k);
  option(with_options.set, "generate.temperature", args.temperature);
  Recipe recipe = recipe_without_text(with_options);
  if (!args.prompts.empty()) recipe.generate.prompt = args.prompts;
  if (recipe.generate.prompt.empty()) {
    throw Error(ErrorKind::kUsage, "generate: give --prompt, or generate.prompt in the recipe");
  }
  check_weights_fit(recipe, read_rank_environment());
  return recipe;
}

}  // namespace

ExitCode run_generate(const GenerateArgs& args) {
  // What else was asked for is in the recipe by now.
  Session session(recipe_with_options(args),
                  fmt::format("generate --ckpt {} --seed {}", args.ckpt, args.seed.value_or(-1)));
  if (session.mesh().shape.data > 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("generate runs one replica: start it on {} rank{}",
                            session.recipe().parallel.pipeline,
                            session.recipe().parallel.pipeline == 1 ? ", without mpirun" : "s"));
  }
  const std::vector<std::string> sources = weight_sources(session, args.ckpt);
  const Tokenizer tokenizer = run_tokenizer(session, sources);
  const Stages stages = plan_stages(session.cx(), session.comm(), session.recipe(),
                                    decoder_config(session.recipe(), tokenizer.vocabulary()));
  DecoderLm model = make_model(session.cx(), session.recipe(), tokenizer.vocabulary(),
                               stages.of_rank(session.mesh().here.pipeline));
  load_weights(session, tokenizer, model, sources);
  const auto seed = static_cast<std::uint64_t>(args.seed.value_or(session.recipe().seed));
  const std::vector<std::string> texts =
      sample_texts(session.cx(), *session.mesh().pipeline, stages, model, tokenizer,
                   session.recipe().generate, seed);
  for (const std::string& text : texts)
    if (session.is_first()) fmt::print("{}\n", text);
  return ExitCode::kDone;
}

}  // namespace gradwire
