#include <cstdio>

#include <fmt/format.h>

#include "core/error.h"
#include "launch/commands.h"
#include "launch/language_model.h"
#include "launch/load_model.h"
#include "launch/run_data.h"
#include "launch/samples.h"
#include "launch/session.h"

namespace gradwire {
namespace {

GenerateRecipe settings(const GenerateArgs& args, const Recipe& recipe) {
  GenerateRecipe g = recipe.generate;
  if (!args.prompts.empty()) g.prompt = args.prompts;
  g.tokens = args.tokens.value_or(g.tokens);
  g.top_k = args.top_k.value_or(g.top_k);
  g.temperature = args.temperature.value_or(g.temperature);
  if (g.prompt.empty()) {
    throw Error(ErrorKind::kUsage, "generate: give --prompt, or generate.prompt in the recipe");
  }
  return g;
}

std::string command_of(const GenerateArgs& args) {
  std::string text = fmt::format("generate --ckpt {}", args.ckpt);
  for (const std::string& prompt : args.prompts)
    text += " --prompt " + toml_text(prompt);
  const auto add = [&](const char* option, const auto& value) {
    if (value) text += fmt::format(" {} {}", option, *value);
  };
  add("--tokens", args.tokens);
  add("--top-k", args.top_k);
  add("--seed", args.seed);
  add("--temperature", args.temperature);
  return text;
}

}  // namespace

ExitCode run_generate(const GenerateArgs& args) {
  Session session(recipe_without_text(args.recipe), command_of(args));
  if (session.mesh().shape.data > 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("generate runs one replica: start it on {} rank{}",
                            session.recipe().parallel.pipeline,
                            session.recipe().parallel.pipeline == 1 ? ", without mpirun" : "s"));
  }
  const GenerateRecipe g = settings(args, session.recipe());
  const std::vector<std::string> sources = weight_sources(session, args.ckpt);
  const Tokenizer tokenizer = run_tokenizer(session, sources);
  const Stages stages = plan_stages(session.cx(), session.comm(), session.recipe(),
                                    decoder_config(session.recipe(), tokenizer.vocabulary()));
  DecoderLm model = make_model(session.cx(), session.recipe(), tokenizer.vocabulary(),
                               stages.of_rank(session.mesh().here.pipeline));
  load_weights(session, tokenizer, model, sources);
  const auto seed = static_cast<std::uint64_t>(args.seed.value_or(session.recipe().seed));
  const std::vector<std::string> texts =
      sample_texts(session.cx(), *session.mesh().pipeline, stages, model, tokenizer, g, seed);
  for (const std::string& text : texts)
    if (session.is_first()) fmt::print("{}\n", text);
  return ExitCode::kDone;
}

}  // namespace gradwire
