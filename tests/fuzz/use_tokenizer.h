// Does with a vocabulary that was accepted what the program does with one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "data/chat.h"
#include "data/tokenizer.h"
#include "tests/fuzz/fuzz_file.h"

namespace gradwire::fuzz {

inline void use(const Tokenizer& tokenizer) {
  for (const SpecialText special : {SpecialText::kText, SpecialText::kToken}) {
    const std::vector<std::int32_t> ids =
        tokenizer.encode("It's  12\u00bd \u6771\u4eac e\u0301\n\xff<s>", special);
    may_refuse([&] { (void)tokenizer.decode(ids); });
  }
  (void)tokenizer.find("<s>");
  may_refuse([&] {
    const std::vector<ChatMessage> said = {{"user", "a"}, {"assistant", "b"}};
    (void)ChatFormat::of(tokenizer).tokens(said, /*asks=*/true);
  });
}

}  // namespace gradwire::fuzz
