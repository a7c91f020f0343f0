// What is done with a vocabulary that was accepted: texts go in, ids come out.
#pragma once

#include "data/tokenizer.h"

namespace gradwire::fuzz {

inline void use(const Tokenizer& tokenizer) {
  for (const char* text : {"a b  ab1\n", "\xc3\xa9\xff <s>a", "[UNK] aab"}) {
    for (const SpecialText special : {SpecialText::kText, SpecialText::kToken})
      (void)tokenizer.decode(tokenizer.encode(text, special));
  }
}

}  // namespace gradwire::fuzz
