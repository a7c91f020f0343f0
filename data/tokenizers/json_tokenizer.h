// The tokenizer of a Hugging Face folder: tokenizer.json (format version 1.0 of the package
// tokenizers), and beside it tokenizer_config.json, which names the special tokens and has the chat
// template, and special_tokens_map.json and chat_template.jinja, which older and newer versions
// have instead.
#pragma once

#include <memory>
#include <string>

#include "data/tokenizer.h"

namespace gradwire {

// `path` is the tokenizer.json. Byte-level BPE with the pre-tokenizers that
// data/tokenizers/word_split.h has, and WordPiece. The hash is that of the files that are read.
// Errors: kIo; kData, naming file and part, for what is damaged or not supported.
std::unique_ptr<const Tokenizer> json_tokenizer(const std::string& path);

}  // namespace gradwire
