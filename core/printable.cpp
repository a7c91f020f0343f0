#include "core/printable.h"

#include <algorithm>
#include <cstdint>

#include <fmt/format.h>

namespace gradwire {
namespace {

std::string escaped(std::string_view text, std::size_t most, bool keeps_lines) {
  std::string out;
  std::size_t at = 0;
  while (at < std::min(text.size(), most)) {
    const CodePoint c = first_code_point(text.substr(at));
    const std::size_t bytes = std::max<std::size_t>(1, c.bytes);
    const bool kept = keeps_lines && (c.value == '\n' || c.value == '\t');
    if (c.bytes > 0 && (kept || is_harmless(c.value))) {
      out += text.substr(at, bytes);
    } else if (c.bytes == 0 || c.value < 0x80) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(text[at])));
    } else {
      out += fmt::format("\\u{:04x}", c.value);
    }
    at += bytes;
  }
  if (at < text.size()) out += fmt::format("... ({} bytes more)", text.size() - at);
  return out;
}

}  // namespace

// The shortest form alone, no surrogates, up to U+10FFFF.
CodePoint first_code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return {};
  std::uint32_t value = lead & (0xffU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0U) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3fU);
  }
  constexpr std::uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value < 0xe000;
  if (value < kLeast[bytes] || value > 0x10ffff || surrogate) return {};
  return {value, bytes};
}

bool is_harmless(std::uint32_t c) {
  const bool control = c < 0x20 || (c >= 0x7f && c < 0xa0);
  const bool line_or_direction = (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) ||
                                 c == 0x200e || c == 0x200f || c == 0x061c;
  return !control && !line_or_direction;
}

std::string printable(std::string_view text, std::size_t most) {
  return escaped(text, most, /*keeps_lines=*/true);
}

std::string printable_word(std::string_view text, std::size_t most) {
  return escaped(text, most, /*keeps_lines=*/false);
}

bool is_printable_word(std::string_view text, std::size_t most) {
  return text.size() <= most && printable_word(text, most) == text;
}

std::string printable_line(std::string_view text) {
  std::string line(text);
  std::ranges::replace(line, '\n', ' ');
  return printable_word(line);
}

}  // namespace gradwire
