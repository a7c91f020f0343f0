#include "jobs/language_model/pretrained.h"

#include <filesystem>
#include <memory>
#include <type_traits>

#include <fmt/format.h>

#include "core/error.h"
#include "data/tokenizer.h"
#include "models/formats/decoder_format.h"

namespace gradwire {
namespace {

class Sizes {
 public:
  Sizes(const std::string& from, const Origins& origins, ProblemList& out)
      : from_(from), origins_(origins), out_(out) {}

  template <class T>
  void take(const char* key, T& value, T theirs) {
    // A default that follows from other keys is nobody's word.
    const bool says_nothing = std::is_same_v<T, std::int64_t> && value == T{};
    if (origins_.of(key).line != 0 && !says_nothing && !same(value, theirs)) {
      out_.add(key, fmt::format("{}, but model.from = {} has {}: leave the key out",
                                toml_text(value), toml_text(from_), toml_text(theirs)));
    }
    value = theirs;
  }

 private:
  template <class T>
  static bool same(T a, T b) {
    return a == b;
  }
  // Files hold some of them in f32.
  static bool same(double a, double b) { return static_cast<float>(a) == static_cast<float>(b); }

  const std::string& from_;
  const Origins& origins_;
  ProblemList& out_;
};

// Models may have rows beyond their vocabulary, not less.
void check_vocabulary(const std::string& from, std::int64_t rows) {
  const std::unique_ptr<const Tokenizer> tokenizer = Tokenizer::load(from);
  if (tokenizer->vocabulary() <= rows) return;
  throw Error(ErrorKind::kData, fmt::format("{}: a vocabulary of {} tokens, but the model has {}",
                                            tokenizer->path(), tokenizer->vocabulary(), rows));
}

}  // namespace

void take_sizes(LanguageModelRecipe& recipe, const Origins& origins, ProblemList& out) {
  DecoderRecipe& m = recipe.model;
  std::error_code failure;
  if (!std::filesystem::exists(m.from, failure)) {
    return out.add("model.from", fmt::format("no such file or folder: '{}'", m.from), true);
  }
  const ForeignDecoder file = ForeignDecoder::open(m.from);
  file.check_tensors();
  const DecoderConfig& c = file.config();
  check_vocabulary(m.from, c.vocab);
  Sizes sizes(m.from, origins, out);
  sizes.take("model.layers", m.layers, c.layers);
  sizes.take("model.width", m.width, c.width);
  sizes.take("model.heads", m.heads, c.heads);
  sizes.take("model.kv_heads", m.kv_heads, c.kv_heads);
  sizes.take("model.ffn_width", m.ffn_width, c.ffn_width);
  sizes.take("model.head_width", m.head_width, c.resolved_head_width());
  sizes.take("model.qkv_bias", m.qkv_bias, c.qkv_bias);
  sizes.take("model.qk_norm", m.qk_norm, c.qk_norm);
  sizes.take("model.rope_theta", m.rope_theta, c.rope_theta);
  sizes.take("model.norm_eps", m.norm_eps, c.norm_eps);
  sizes.take("model.tie_embeddings", m.tie_embeddings, c.tie_embeddings);
  sizes.take("data.vocab_size", recipe.data.vocab_size, c.vocab);
}

}  // namespace gradwire
