#include "launch/samples.h"

#include "core/rng.h"
#include "models/generate.h"

namespace gradwire {

std::vector<std::string> sample_texts(Context& cx, DecoderLm& model, const Tokenizer& tokenizer,
                                      const GenerateRecipe& settings, std::uint64_t seed) {
  SamplingOptions options;
  options.max_tokens = settings.tokens;
  options.temperature = settings.temperature;
  options.top_k = settings.top_k;
  options.stop_id = tokenizer.eos_id();
  std::vector<std::string> texts;
  for (const std::string& prompt : settings.prompt) {
    std::vector<std::int32_t> ids = tokenizer.encode(prompt);
    ids.insert(ids.begin(), tokenizer.bos_id());
    options.seed = derive_seed(seed, texts.size());
    const std::vector<std::int32_t> fresh = generate(cx, model, ids, options);
    ids.insert(ids.end(), fresh.begin(), fresh.end());
    texts.push_back(tokenizer.decode(ids));
  }
  return texts;
}

}  // namespace gradwire
