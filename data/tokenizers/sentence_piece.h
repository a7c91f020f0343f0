// A SentencePiece model, by the library that defines the format.
#pragma once

#include <memory>
#include <string>

#include "data/tokenizer.h"

namespace gradwire {

// `bytes` is the content of the file `path`. Errors: kData for what is no such model, has no bos or
// eos, or has more or longer pieces than kMostPieces and kMostPieceBytes.
std::unique_ptr<const Tokenizer> sentence_piece_tokenizer(const std::string& path,
                                                          const std::string& bytes);

}  // namespace gradwire
