#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "launch/commands.h"
#include "launch/language_model.h"
#include "launch/load_model.h"
#include "launch/session.h"
#include "parallel/agreement.h"

namespace gradwire {

// One JSON object on stdout, so that scripts need not parse text.
ExitCode run_eval(const EvalArgs& args) {
  Session session(args.recipe);
  const TokenData data(session.prepare({}));
  LanguageModel lm(session.cx(), session.recipe(), data, session.env().rank, session.env().size);
  const LoadResult loaded = load_weights(session, data, lm.model, args.ckpt);

  const EvalSums mine = lm.task.evaluate(session.cx(), session.recipe().train.eval_batches);
  const double mean = mine.tokens > 0.0 ? mine.loss / mine.tokens : 0.0;
  const double loss = mean_over_ranks(session.cx(), session.comm(), mean, mine.tokens);
  const double tokens =
      mean_over_ranks(session.cx(), session.comm(), mine.tokens) * session.env().size;
  if (session.is_first()) {
    const nlohmann::json result = {{"checkpoint", loaded.path},
                                   {"step", loaded.step},
                                   {"loss", loss},
                                   {"perplexity", std::exp(loss)},
                                   {"tokens", static_cast<std::int64_t>(std::llround(tokens))}};
    fmt::print("{}\n", result.dump());
  }
  return ExitCode::kDone;
}

}  // namespace gradwire
