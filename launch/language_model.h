// What a recipe of task "pretrain" stands for: the prepared text, the tokenizer, the model, and the
// settings of other rooms copied out of the recipe.
#pragma once

#include <optional>
#include <string>

#include "data/prepare.h"
#include "data/tokenizer.h"
#include "launch/recipe.h"
#include "launch/stages.h"
#include "models/decoder_lm.h"
#include "optim/schedule.h"
#include "parallel/mesh.h"
#include "train/language_model_task.h"

namespace gradwire {

PrepareConfig prepare_config(const Recipe& recipe);
DecoderConfig decoder_config(const Recipe& recipe, std::int64_t vocabulary);
ScheduleConfig schedule_config(const Recipe& recipe);

// The text as tokens, with what made them.
struct TokenData {
  explicit TokenData(const PreparedText& prepared);
  const TokenFile* valid_file() const { return valid ? &*valid : nullptr; }

  Tokenizer tokenizer;
  TokenFile train;
  std::optional<TokenFile> valid;
};

// The stages of this rank. Initial weights depend on the recipe's seed alone.
DecoderLm make_model(Context& cx, const Recipe& recipe, std::int64_t vocabulary,
                     const std::vector<UnitRange>& here);

struct LanguageModel {
  // The stages of this rank. Each replica reads its share of `data`, which must outlive this.
  LanguageModel(Context& cx, const Recipe& recipe, const TokenData& data, const Mesh& mesh,
                const Stages& stages);

  DecoderLm model;
  LanguageModelTask task;
};

// What a checkpoint of this model must have in common with the run that loads it.
std::string model_identity(const Tokenizer& tokenizer);
// The digest of the tokenizer that such an identity names.
std::optional<std::uint64_t> tokenizer_hash_in(const std::string& identity);
// Of what it learns from: the tokens of both sides.
std::string data_identity(const TokenData& data);

}  // namespace gradwire
