// What the files beside a tokenizer.json say: which tokens are special, and the chat template.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "core/hash.h"
#include "data/tokenizer.h"

namespace gradwire {

struct TokenizerSettings {
  std::string bos, eos, unk, pad;  // as they are written; empty: none is named
  std::optional<bool> adds_bos;
  std::optional<bool> lower_cases, strips_accents, cuts_ideographs;  // of BERT
  std::string chat_template;
};

// Adds what it reads to `hasher`. Errors: kIo; kData for a file that is damaged.
TokenizerSettings read_tokenizer_settings(const std::string& tokenizer_json, Hasher& hasher);

// The ids of the tokens that are named, by `id_of` what is written; -1 for the others.
SpecialTokens special_tokens(const TokenizerSettings& settings,
                             const std::function<std::int32_t(const std::string&)>& id_of);

}  // namespace gradwire
