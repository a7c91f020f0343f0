// The text of a language model as tokens, and the names by which it is compared.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "data/prepare.h"
#include "data/token_file.h"
#include "data/tokenizer.h"

#include "jobs/language_model/recipe.h"

namespace gradwire {

// With the tokenizer of the model that the recipe begins with, if it does.
PrepareConfig prepare_config(const Recipe& recipe);

// The text as tokens, with what made them.
struct TokenData {
  explicit TokenData(const PreparedText& prepared);
  const TokenFile* valid_file() const { return valid ? &*valid : nullptr; }

  std::unique_ptr<const Tokenizer> tokenizer;
  TokenFile train;
  std::optional<TokenFile> valid;
};

// Names the tokenizer of a model, for checkpoints.
std::string tokenizer_identity(const Tokenizer& tokenizer);
// The digest of the tokenizer in such a name, which may be followed by a comma and more.
std::optional<std::uint64_t> tokenizer_hash_in(const std::string& identity);
// Names what is learnt from: the tokens of both sides.
std::string tokens_identity(const TokenData& data);

}  // namespace gradwire
