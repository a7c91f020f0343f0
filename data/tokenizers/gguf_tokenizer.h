// The vocabulary that a GGUF file of llama.cpp holds in its metadata, keys `tokenizer.ggml.*`.
#pragma once

#include <memory>
#include <string>

#include "core/weight_files/gguf.h"
#include "data/tokenizer.h"

namespace gradwire {

// Models "gpt2" (byte-level BPE) and "llama" (SentencePiece); the hash is that of the metadata
// under "tokenizer.". Errors: kData, naming the file, for a model or pre-tokenizer that is not
// known, keys that are missing or do not fit each other, and what the tokenizers refuse.
std::unique_ptr<const Tokenizer> gguf_tokenizer(const GgufFile& file);

// A GGUF file without tensors that holds what gguf_tokenizer() reads of `file`: it gives the same
// tokenizer, with the same hash.
std::string gguf_vocabulary(const GgufFile& file);

}  // namespace gradwire
