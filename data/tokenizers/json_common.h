// Parts of tokenizer.json that all kinds of vocabulary have.
#pragma once

#include <string>
#include <vector>

#include "data/tokenizers/json_part.h"
#include "data/tokenizers/special_text.h"
#include "data/tokenizers/tokenizer_settings.h"

namespace gradwire {

// A vocabulary by id.
struct JsonVocabulary {
  std::vector<std::string> tokens;  // as they are written
  std::vector<AddedToken> added;

  // -1 for what is no token.
  std::int32_t find(const std::string& written) const;
};

// "model.vocab" with "added_tokens". Errors: kData for ids that are not 0, 1, ... up to the last
// one, each once, for an added token with another id in the vocabulary, and for options of added
// tokens that are not supported.
JsonVocabulary read_vocabulary(const JsonPart& file);

// The special tokens that the settings name. Errors: kData, naming the token, for one that is none
// of the vocabulary.
SpecialTokens read_special(const JsonPart& file, const JsonVocabulary& vocabulary,
                           const TokenizerSettings& settings);

// Whether a whole input begins with this token: "post_processor" says it.
bool begins_with(const JsonPart& file, const JsonVocabulary& vocabulary, std::int32_t id);

// The types of a part that may be one thing, null, or a Sequence of things under `list`.
std::vector<JsonPart> sequence_of(const JsonPart& file, const char* key, const char* list);

}  // namespace gradwire
