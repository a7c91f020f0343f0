// Byte-level BPE (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019):
// text is cut into words, a word is its bytes, and ranked merges join them. The vocabulary's file
// writes each byte as a printable character; here tokens are kept as bytes.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/tokenizer.h"
#include "data/tokenizers/special_text.h"
#include "data/tokenizers/word_split.h"

namespace gradwire {

// The bytes that a token of such a file stands for; the text itself if it has a character that
// stands for no byte.
std::string bytes_of_written(std::string_view written);

// What a file says of a vocabulary, as it writes it.
struct ByteBpeFile {
  std::string path;
  std::vector<std::string> tokens;                          // by id
  std::vector<std::pair<std::string, std::string>> merges;  // by rank
  // Of these ids, `tokens` has plain text.
  std::vector<AddedToken> added;
  std::vector<WordRule> rules;
  bool whole_words = false;  // a word that is a token is that token, whatever merges say
  bool adds_space = false;   // before a piece of text that does not begin with one
  bool composes = false;     // text is brought into the normal form C of Unicode
  // For a byte that has no token. -1: it is left out, and its neighbours may merge across it, as in
  // the package tokenizers; llama.cpp leaves it out after merging.
  std::int32_t unknown = -1;
  SpecialTokens special;
  std::string chat_template;
  std::uint64_t hash = 0;
};

// Errors: kData, naming the file, for a merge whose parts or result are no tokens, tokens that
// appear twice, and special ids outside the vocabulary.
std::unique_ptr<const Tokenizer> byte_bpe_tokenizer(ByteBpeFile file);

}  // namespace gradwire
