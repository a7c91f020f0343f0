// WordPiece as the files of Hugging Face describe it: tokenizer.json, or vocab.txt, which has a
// token a line, with tokenizer_config.json beside it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "data/tokenizer.h"
#include "data/tokenizers/json_part.h"
#include "data/tokenizers/tokenizer_settings.h"

namespace gradwire {

// `file` is the whole tokenizer.json. Errors: kData, naming the part, for what is damaged or not
// supported.
std::unique_ptr<const Tokenizer> json_word_piece(const JsonPart& file, const std::string& path,
                                                 const TokenizerSettings& settings,
                                                 std::uint64_t hash);

// Errors: kIo; kData, naming the file.
std::unique_ptr<const Tokenizer> text_word_piece(const std::string& path);

}  // namespace gradwire
