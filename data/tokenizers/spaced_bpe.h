// BPE over characters as SentencePiece makes it (Kudo and Richardson, EMNLP 2018): a space is a
// character of words, written U+2581; the pair of neighbours that makes the token with the highest
// score merges first; what has no token falls back to tokens of single bytes. The vocabulary comes
// from another file than SentencePiece's own, which its library reads
// (data/tokenizers/sentence_piece.h).
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "data/tokenizers/special_text.h"

namespace gradwire {

// What a file says of such a vocabulary.
struct SpacedBpeFile {
  enum class Kind : std::uint8_t {
    kPlain,  // merges make it
    kByte,   // written "<0x0A>"
    kOther,  // gives no text
  };
  std::string path;
  std::vector<std::string> tokens;  // by id, as they are written
  std::vector<double> scores;       // by id
  std::vector<Kind> kinds;          // by id
  std::vector<AddedToken> added;
  bool adds_space = true;  // before the text, and before what follows a token of `added`
  SpecialTokens special;
  std::string chat_template;
  std::uint64_t hash = 0;
};

// Characters that have neither a token nor tokens of their bytes become unk, one for each run of
// them. Errors: kData, naming the file, for byte tokens that are written otherwise, plain tokens
// that appear twice, a score that is not a number, and a vocabulary with neither all 256 bytes nor
// unk.
std::unique_ptr<const Tokenizer> spaced_bpe_tokenizer(SpacedBpeFile file);

}  // namespace gradwire
