// Finding the tokens that are cut out of a text before anything else is done with it: special
// tokens, and those that were added to a vocabulary afterwards.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"
#include "data/tokenizers/text_map.h"

namespace gradwire {

struct AddedToken {
  std::int32_t id = 0;
  bool special = false;       // text unless SpecialText::kToken is asked for
  bool takes_before = false;  // with the space before it
  bool takes_after = false;   // with the space after it
};

class AddedTokens {
 public:
  // The one added last has the name. `written` is not empty.
  void add(const std::string& written, AddedToken token);
  std::int32_t find(std::string_view written) const;  // -1 if it is not among them

  // Cuts a text: `text(piece)` gets what is none of them, never empty, `token(id)` the others, in
  // order. The leftmost is cut out first, of several that begin there the longest.
  void cut(std::string_view text, SpecialText special,
           const std::function<void(std::string_view)>& piece,
           const std::function<void(std::int32_t)>& token) const;

 private:
  struct Match {
    std::size_t size = 0;  // 0: none
    AddedToken token;
  };
  Match match(std::string_view text, SpecialText special) const;

  TextMap<AddedToken> tokens_;
  // By first byte: the lengths of the tokens that begin with it, falling, each once.
  std::vector<std::size_t> lengths_[256];
};

}  // namespace gradwire
