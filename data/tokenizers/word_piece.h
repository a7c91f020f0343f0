// WordPiece as BERT uses it (Devlin et al., "BERT", NAACL 2019; its tokenization.py): text is
// cleaned, perhaps lower-cased and freed of accents, cut at space and at punctuation, and each word
// is the longest tokens from left to right, those after the first written with a prefix ("##"). A
// word that is not made of tokens as a whole is one unk. What encode() leaves out does not come
// back.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/tokenizer.h"
#include "data/tokenizers/special_text.h"

namespace gradwire {

struct WordPieceFile {
  std::string path;
  std::vector<std::string> tokens;  // by id, as they are written
  std::vector<AddedToken> added;
  std::string prefix = "##";
  std::int64_t longest_word = 100;  // in characters; a longer one is unk
  bool cleans = true;               // control characters go, any space is a space
  bool cuts_ideographs = true;      // every CJK ideograph is a word
  bool strips_accents = true;       // decomposed (NFD), without nonspacing marks
  bool lower_cases = true;
  std::int32_t unknown = -1;
  SpecialTokens special;
  std::string chat_template;
  std::uint64_t hash = 0;
};

// Errors: kData, naming the file, if `unknown` is no id of the vocabulary or a token appears twice.
std::unique_ptr<const Tokenizer> word_piece_tokenizer(WordPieceFile file);

}  // namespace gradwire
