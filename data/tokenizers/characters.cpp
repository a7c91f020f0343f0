#include "data/tokenizers/characters.h"

#include <unicode/uchar.h>

#include "core/printable.h"

namespace gradwire {

CharacterKind character_kind(std::uint32_t code_point) {
  const auto c = static_cast<UChar32>(code_point);
  const std::uint32_t category = U_MASK(u_charType(c));
  if (category & U_GC_L_MASK) return CharacterKind::kLetter;
  if (category & U_GC_N_MASK) return CharacterKind::kNumber;
  return u_isUWhiteSpace(c) ? CharacterKind::kSpace : CharacterKind::kOther;
}

std::vector<Character> characters_of(std::string_view text) {
  constexpr std::uint32_t kReplacement = 0xFFFD;
  std::vector<Character> out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint point = first_code_point(text.substr(at));
    const std::uint32_t code = point.bytes == 0 ? kReplacement : point.value;
    out.push_back({code, static_cast<std::uint32_t>(at), character_kind(code)});
    at += point.bytes == 0 ? 1 : point.bytes;
  }
  return out;
}

}  // namespace gradwire
