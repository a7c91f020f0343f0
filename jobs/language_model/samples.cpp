#include "jobs/language_model/samples.h"

#include <algorithm>
#include <utility>

#include "core/rng.h"

#include "jobs/language_model/generation.h"

namespace gradwire {
namespace {

// Without the rows that a model may have beyond its vocabulary: no text belongs to them.
NextLogits of_vocabulary(std::int64_t tokens, NextLogits next) {
  return [tokens, next = std::move(next)](Context& cx, const Tensor& ids) {
    std::vector<float> logits = next(cx, ids);
    logits.resize(std::min(logits.size(), static_cast<std::size_t>(tokens)));
    return logits;
  };
}

}  // namespace

std::vector<std::string> sample_texts(Context& cx, Communicator& stages, const Stages& plan,
                                      DecoderLm& model, const Tokenizer& tokenizer,
                                      const GenerateRecipe& settings, std::uint64_t seed,
                                      const Adaptation& adapted) {
  SamplingOptions options;
  options.max_tokens = settings.tokens;
  options.temperature = settings.temperature;
  options.top_k = settings.top_k;
  options.stop_id = tokenizer.eos_id();
  std::vector<std::string> texts;
  for (const std::string& prompt : settings.prompt) {
    std::vector<std::int32_t> ids = tokenizer.encode(prompt);
    if (tokenizer.special().adds_bos) ids.insert(ids.begin(), tokenizer.bos_id());
    options.seed = derive_seed(seed, texts.size());
    const NextLogits next = of_vocabulary(
        tokenizer.vocabulary(), pipelined_logits(cx, stages, plan.schedule, model, plan.cut,
                                                 std::ssize(ids) + options.max_tokens, adapted));
    const std::vector<std::int32_t> fresh = generate(cx, next, ids, options);
    ids.insert(ids.end(), fresh.begin(), fresh.end());
    texts.push_back(tokenizer.decode(ids));
  }
  return texts;
}

}  // namespace gradwire
