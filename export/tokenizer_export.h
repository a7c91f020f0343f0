// The vocabulary of a model, as other programs read it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "data/tokenizer.h"
#include "export/gguf_writer.h"

namespace gradwire {

// A file of text or of few bytes, by name.
using SmallFiles = std::vector<std::pair<std::string, std::string>>;

// The vocabulary's own file, byte for byte, under its usual name, with tokenizer_config.json and
// special_tokens_map.json beside it. `context`: tokens that the model was trained on at once.
// Errors: kIo; kData for a vocabulary that is no SentencePiece model.
SmallFiles hugging_face_tokenizer(const Tokenizer& tokenizer, std::int64_t context);

// The keys tokenizer.ggml.*. Errors: kIo; kData, saying why, for a vocabulary that the kind "llama"
// of GGUF cannot hold: it must be a SentencePiece model of BPE that replaces no characters.
GgufMetadata gguf_tokenizer_keys(const Tokenizer& tokenizer);

}  // namespace gradwire
