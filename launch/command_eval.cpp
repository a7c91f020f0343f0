#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/commands.h"
#include "launch/language_model.h"
#include "launch/load_model.h"
#include "launch/session.h"
#include "train/evaluation.h"

namespace gradwire {

// One JSON object on stdout, so that scripts need not parse text.
ExitCode run_eval(const EvalArgs& args) {
  Session session(args.recipe);
  const TokenData data(session.prepare({}));
  const Stages stages = plan_stages(session.cx(), session.comm(), session.recipe(),
                                    decoder_config(session.recipe(), data.tokenizer.vocabulary()));
  LanguageModel lm(session.cx(), session.recipe(), data, session.mesh(), stages);
  const LoadResult loaded = load_weights(session, data, lm.model, args.ckpt);
  Pipeline pipeline(*session.mesh().pipeline, stages.schedule);
  const Evaluation found = evaluate(session.cx(), session.comm(), pipeline, lm.task,
                                    session.recipe().train.eval_batches);
  if (session.is_first()) {
    const nlohmann::json result = {{"checkpoint", loaded.path},
                                   {"step", loaded.step},
                                   {"loss", found.loss},
                                   {"perplexity", std::exp(found.loss)},
                                   {"tokens", found.tokens}};
    fmt::print("{}\n", result.dump());
  }
  return ExitCode::kDone;
}

}  // namespace gradwire
