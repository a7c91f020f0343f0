// Byte-level BPE as tokenizer.json describes it.
#pragma once

#include <cstdint>
#include <memory>

#include "data/tokenizer.h"
#include "data/tokenizers/json_part.h"
#include "data/tokenizers/tokenizer_settings.h"

namespace gradwire {

// `file` is the whole tokenizer.json. Errors: kData, naming the part, for what is damaged or would
// make other tokens than are supported.
std::unique_ptr<const Tokenizer> json_byte_bpe(const JsonPart& file, const std::string& path,
                                               const TokenizerSettings& settings,
                                               std::uint64_t hash);

}  // namespace gradwire
