#include "jobs/language_model/text_data.h"

#include <charconv>
#include <string_view>

#include <fmt/format.h>

#include "core/hash.h"

namespace gradwire {
namespace {

constexpr std::string_view kIdentity = "decoder, tokenizer ";

}  // namespace

PrepareConfig prepare_config(const Recipe& recipe) {
  const TextRecipe& text = language_model_of(recipe).data;
  PrepareConfig config;
  config.corpus.files = text.text;
  if (text.has_samples()) {
    const bool chat = text.format == TextRecipe::kChat;
    config.samples = {chat ? SampleFormat::kChat : SampleFormat::kPromptCompletion,
                      text.context + 1, text.too_long == "truncate"};
  }
  config.tokenizer.kind =
      text.tokenizer_kind == "bpe" ? TokenizerKind::kBpe : TokenizerKind::kUnigram;
  config.tokenizer.vocabulary = text.vocab_size;
  config.tokenizer_model = language_model_of(recipe).model.from;
  config.split.valid_share = text.validation_share;
  config.split.seed = static_cast<std::uint64_t>(text.split_seed);
  config.cache_folder = text.cache;
  return config;
}

TokenData::TokenData(const PreparedText& prepared)
    : tokenizer(Tokenizer::load(prepared.tokenizer_path)),
      train(TokenFile::open(prepared.train_path, tokenizer->hash())) {
  if (!prepared.valid_path.empty()) {
    valid.emplace(TokenFile::open(prepared.valid_path, tokenizer->hash()));
  }
}

std::string tokenizer_identity(const Tokenizer& tokenizer) {
  return std::string(kIdentity) + to_hex(tokenizer.hash());
}

std::optional<std::uint64_t> tokenizer_hash_in(const std::string& identity) {
  if (!identity.starts_with(kIdentity)) return std::nullopt;
  std::uint64_t hash = 0;
  const char* const end = identity.data() + identity.size();
  const auto [stop, error] = std::from_chars(identity.data() + kIdentity.size(), end, hash, 16);
  if (error != std::errc() || (stop != end && *stop != ',')) return std::nullopt;
  return hash;
}

std::string tokens_identity(const TokenData& data) {
  return fmt::format("{}, training {}, validation {}", tokenizer_identity(*data.tokenizer),
                     data.train.tokens_hash(), data.valid ? data.valid->tokens_hash() : "none");
}

}  // namespace gradwire
