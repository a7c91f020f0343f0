#include "launch/language_model.h"

#include <charconv>
#include <string_view>

#include <fmt/format.h>

#include "core/hash.h"

namespace gradwire {
namespace {

constexpr std::string_view kIdentity = "decoder, tokenizer ";

Context seeded(Context cx, const Recipe& recipe) {
  cx.rng = Rng{static_cast<std::uint64_t>(recipe.seed), 0};
  return cx;
}

SamplerConfig sampler_config(const Recipe& recipe, const Mesh& mesh) {
  SamplerConfig config;
  config.sequence = recipe.data.context;
  config.batch = recipe.batch.micro;
  config.seed = static_cast<std::uint64_t>(recipe.seed);
  config.rank = mesh.here.data;
  config.ranks = mesh.shape.data;
  config.own_stretch = recipe.data.ranks_read == "stretch";
  return config;
}

}  // namespace

PrepareConfig prepare_config(const Recipe& recipe) {
  PrepareConfig config;
  config.corpus.files = recipe.data.text;
  config.tokenizer.kind =
      recipe.data.tokenizer_kind == "bpe" ? TokenizerKind::kBpe : TokenizerKind::kUnigram;
  config.tokenizer.vocabulary = recipe.data.vocab_size;
  config.split.valid_share = recipe.data.validation_share;
  config.split.seed = static_cast<std::uint64_t>(recipe.data.split_seed);
  config.cache_folder = recipe.data.cache;
  return config;
}

DecoderConfig decoder_config(const Recipe& recipe, std::int64_t vocabulary) {
  const ModelRecipe& m = recipe.model;
  DecoderConfig config;
  config.vocab = vocabulary;
  config.layers = m.layers;
  config.width = m.width;
  config.heads = m.heads;
  config.kv_heads = m.resolved_kv_heads();
  config.ffn_width = m.resolved_ffn_width();
  config.rope_theta = m.rope_theta;
  config.norm_eps = m.norm_eps;
  config.tie_embeddings = m.tie_embeddings;
  config.dropout = m.dropout;
  config.recompute = recipe.parallel.recompute;
  config.compute = recipe.precision == "bf16" ? DType::kBf16 : DType::kF32;
  return config;
}

ScheduleConfig schedule_config(const Recipe& recipe) {
  ScheduleConfig config;
  config.decay = decay_named(recipe.schedule.kind);
  config.peak_lr = recipe.optim.lr;
  config.warmup_steps = recipe.schedule.warmup_steps;
  config.total_steps = recipe.train.steps;
  config.final_ratio = recipe.schedule.final_ratio;
  return config;
}

TokenData::TokenData(const PreparedText& prepared)
    : tokenizer(Tokenizer::load(prepared.tokenizer_path)),
      train(TokenFile::open(prepared.train_path, tokenizer.hash())) {
  if (!prepared.valid_path.empty()) {
    valid.emplace(TokenFile::open(prepared.valid_path, tokenizer.hash()));
  }
}

DecoderLm make_model(Context& cx, const Recipe& recipe, std::int64_t vocabulary,
                     const std::vector<UnitRange>& here) {
  Context init = seeded(cx, recipe);
  return DecoderLm(init, decoder_config(recipe, vocabulary), here);
}

LanguageModel::LanguageModel(Context& cx, const Recipe& recipe, const TokenData& data,
                             const Mesh& mesh, const Stages& stages)
    : model(
          make_model(cx, recipe, data.tokenizer.vocabulary(), stages.of_rank(mesh.here.pipeline))),
      task(cx, model, stages.cut, data.train, data.valid_file(), sampler_config(recipe, mesh)) {
  set_trainable(model, recipe.model.trainable, mesh.shape.pipeline > 1);
}

std::string model_identity(const Tokenizer& tokenizer) {
  return std::string(kIdentity) + to_hex(tokenizer.hash());
}

std::optional<std::uint64_t> tokenizer_hash_in(const std::string& identity) {
  if (!identity.starts_with(kIdentity)) return std::nullopt;
  std::uint64_t hash = 0;
  const char* const end = identity.data() + identity.size();
  const auto [stop, error] = std::from_chars(identity.data() + kIdentity.size(), end, hash, 16);
  if (error != std::errc() || stop != end) return std::nullopt;
  return hash;
}

std::string data_identity(const TokenData& data) {
  return fmt::format("{}, training {}, validation {}", model_identity(data.tokenizer),
                     data.train.tokens_hash(), data.valid ? data.valid->tokens_hash() : "none");
}

}  // namespace gradwire
