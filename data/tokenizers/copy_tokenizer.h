// Keeping a tokenizer apart from the model that it came with.
#pragma once

#include <string>

#include "data/tokenizer.h"

namespace gradwire {

// Writes to `path`, which does not exist, what Tokenizer::load() reads of the tokenizer's own
// files: a folder for a tokenizer.json or vocab.txt with the files beside it, else one file, of
// GGUF the vocabulary alone. The copy has the same hash. Errors: kIo; kData if the files have
// changed since.
void copy_tokenizer(const Tokenizer& tokenizer, const std::string& path);

// Writes the same into a folder, under the names that Tokenizer::load() finds in it: a vocabulary
// of a GGUF file as tokenizer.gguf, a SentencePiece model as tokenizer.model. Errors: kIo.
void add_tokenizer(const Tokenizer& tokenizer, const std::string& folder);

}  // namespace gradwire
