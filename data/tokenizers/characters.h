// Text as characters of the classes by which tokenizers cut it. Classes are those of the Unicode
// Character Database, by ICU.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace gradwire {

enum class CharacterKind : std::uint8_t {
  kLetter,  // general category L
  kNumber,  // general category N
  kSpace,   // White_Space
  kOther,   // the rest, and each byte that is not part of a character in UTF-8
};

CharacterKind character_kind(std::uint32_t code_point);

struct Character {
  std::uint32_t code;   // code point; U+FFFD for such a byte
  std::uint32_t begin;  // its first byte within the text
  CharacterKind kind;
};

// All of `text`, which has less than 2^32 bytes.
std::vector<Character> characters_of(std::string_view text);

}  // namespace gradwire
