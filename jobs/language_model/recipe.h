// The recipe of a language model: a decoder, the text it learns from, and how it continues texts.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "models/decoder_lm.h"

#include "jobs/adapters.h"
#include "jobs/job.h"
#include "recipe/recipe.h"

namespace gradwire {

struct DecoderRecipe {
  std::string from;
  std::int64_t layers = 4;
  std::int64_t width = 256;
  std::int64_t heads = 4;
  std::int64_t kv_heads = 0;
  std::int64_t ffn_width = 0;
  std::int64_t head_width = 0;
  bool qkv_bias = false;
  bool qk_norm = false;
  double rope_theta = 10000.0;
  double norm_eps = 1e-5;
  bool tie_embeddings = true;
  double dropout = 0.0;
  StringList trainable = {"*"};

  // What 0 stands for in kv_heads, head_width and ffn_width.
  std::int64_t resolved_kv_heads() const { return kv_heads == 0 ? heads : kv_heads; }
  std::int64_t resolved_head_width() const { return head_width == 0 ? width / heads : head_width; }
  std::int64_t resolved_ffn_width() const {
    constexpr std::int64_t kMultiple = 64;
    const std::int64_t wanted = (8 * width + 2) / 3;
    return ffn_width == 0 ? (wanted + kMultiple - 1) / kMultiple * kMultiple : ffn_width;
  }

  void fields(FieldVisitor& v) {
    v("from", from,
      "a trained model of another program to begin with: a GGUF file, or a Hugging Face folder "
      "with "
      "config.json, safetensors and tokenizer. The sizes below, data.vocab_size and the tokenizer "
      "are then its own and need not be given",
      Limits{}.path({"job"}).per_host());
    v("layers", layers, "transformer blocks", at_least(1).up_to(kMostLayers).shapes_model());
    v("width", width, "model width D", at_least(2).up_to(1 << 20).shapes_model());
    v("heads", heads, "attention heads H; must divide width unless head_width is given",
      at_least(1).up_to(1 << 20).shapes_model());
    v("kv_heads", kv_heads, "key and value heads; must divide heads; 0: as many as heads",
      at_least(0).up_to(1 << 20).shapes_model());
    v("ffn_width", ffn_width, "feed-forward width F; 0: 8/3 width, rounded up to a multiple of 64",
      at_least(0).up_to(kMostWidth).shapes_model());
    v("head_width", head_width, "elements of a head Dh, an even number; 0: width / heads",
      at_least(0).up_to(kMostWidth).shapes_model());
    v("qkv_bias", qkv_bias, "biases of the query, key and value projections, as in Qwen2",
      Limits{}.shapes_model());
    v("qk_norm", qk_norm, "RMSNorm of each head of queries and keys, as in Qwen3",
      Limits{}.shapes_model());
    v("rope_theta", rope_theta, "base of the rotary position angles", greater_than(0.0));
    v("norm_eps", norm_eps, "epsilon inside RMSNorm", greater_than(0.0));
    v("tie_embeddings", tie_embeddings, "the output head shares the embedding's weights",
      Limits{}.shapes_model());
    v("dropout", dropout, "dropped share after attention and feed-forward", at_least(0.0).below(1));
    v("trainable", trainable,
      "patterns (`*`, `?`) over parameter names; parameters that match none stay frozen",
      nonempty());
  }
  bool operator==(const DecoderRecipe&) const = default;
};

struct TextRecipe {
  static constexpr const char* kText = "text";
  static constexpr const char* kPromptCompletion = "prompt_completion";
  static constexpr const char* kChat = "chat";
  static constexpr const char* kHeldOutChanges =
      "what is held out now may have been trained on before";
  StringList text;
  std::string format = kText;
  bool packing = true;
  std::string too_long = "refuse";
  std::string cache = "data/cache";
  std::int64_t vocab_size = 2048;
  std::string tokenizer_kind = "bpe";
  std::int64_t context = 128;
  double validation_share = 0.05;
  std::int64_t split_seed = 1;
  std::string ranks_read = "all";

  void fields(FieldVisitor& v) {
    v("text", text,
      "UTF-8 text files, relative to the working folder; a line without a visible character, or "
      "the "
      "end of a file, ends a document",
      nonempty().path({"job", "host"}).per_host());
    v("format", format,
      "text: as above; prompt_completion, chat: JSON lines of samples with \"prompt\" and "
      "\"completion\", or with \"messages\" of \"role\" and \"content\" in the format of the "
      "vocabulary's chat template, and only answers are learnt",
      one_of({kText, kPromptCompletion, kChat}));
    v("packing", packing,
      "of samples: several in one sequence, of which each sees only itself; false: each in one of "
      "its own",
      Limits{});
    v("too_long", too_long,
      "refuse: a sample that is longer than context is an error; truncate: it loses its end, and "
      "is left out if no answer is left",
      one_of({"refuse", "truncate"}));
    v("cache", cache,
      "folder of trained tokenizers and token files, named by a digest of what they were made of; "
      "runs may share it",
      nonempty().path({"job", "host"}).per_rank());
    v("vocab_size", vocab_size, "tokens in the vocabulary V, single bytes and marks included",
      at_least(300).up_to(1 << 20).shapes_model());
    v("tokenizer_kind", tokenizer_kind, "SentencePiece model",
      one_of({"bpe", "unigram"}).shapes_model());
    v("context", context, "tokens in a sequence T", at_least(1).up_to(kMostTokens));
    v("validation_share", validation_share,
      "share of the documents held out for evaluation; of a text with too few documents, its tail",
      at_least(0.0).below(1).warns(kHeldOutChanges));
    v("split_seed", split_seed,
      "which documents are held out; apart from seed, so that runs with other seeds compare",
      at_least(0).warns(kHeldOutChanges));
    v("ranks_read", ranks_read,
      "all: every rank draws from all of the text; stretch: from its own part of it alone",
      one_of({"all", "stretch"}));
  }
  bool has_samples() const { return format != kText; }
  bool operator==(const TextRecipe&) const = default;
};

struct GenerateRecipe {
  StringList prompt;
  std::int64_t tokens = 100;
  double temperature = 0.8;
  std::int64_t top_k = 40;

  void fields(FieldVisitor& v) {
    v("prompt", prompt, "texts to continue", Limits{}.beside_training());
    v("tokens", tokens, "tokens to add to each", at_least(1).up_to(kMostTokens).beside_training());
    v("temperature", temperature, "divides the logits; 0: always the likeliest token",
      at_least(0.0).beside_training());
    v("top_k", top_k, "draw among the k likeliest tokens; 0: among all",
      at_least(0).beside_training());
  }
  bool operator==(const GenerateRecipe&) const = default;
};

class LanguageModelRecipe final : public JobRecipe {
 public:
  DecoderRecipe model;
  AdaptersRecipe adapters;
  TextRecipe data;
  GenerateRecipe generate;

  void fields(FieldVisitor& v) override;
  std::unique_ptr<JobSections> clone() const override;
  void resolve_defaults() override;
  void complete(const Origins& origins, ProblemList& out) override;
  void check(const Recipe& recipe, int ranks, Inputs inputs, ProblemList& out) const override;
  int units(const Recipe& recipe) const override;
  ModelOutline outline(const Recipe& recipe) const override;
  std::span<const Verb> verbs() const override;
  void check_evaluation(const Recipe& recipe) const override;
  std::unique_ptr<Job> make(const Recipe& recipe) const override;
};

// The sections of a recipe of this task. Errors: kInternal for one of another task.
LanguageModelRecipe& language_model_of(Recipe& recipe);
const LanguageModelRecipe& language_model_of(const Recipe& recipe);

DecoderConfig decoder_config(const Recipe& recipe, std::int64_t vocabulary);
// Of a decoder as the recipe trains it.
ModelOutline decoder_outline(const Recipe& recipe, const DecoderConfig& config);

inline std::unique_ptr<JobSections> make_language_model_recipe() {
  return std::make_unique<LanguageModelRecipe>();
}
inline constexpr JobKind kLanguageModelJob = {
    "language_model", "Trains a LLaMA-style decoder on text, by next-token cross-entropy.",
    make_language_model_recipe};

}  // namespace gradwire
