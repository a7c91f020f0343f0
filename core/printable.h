#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gradwire {

// Text from files, other programs or the network, fit for a terminal or a log: whatever could drive
// a terminal, or make text look like other text, is written as an escape such as \x1b or \u202e.
// That is control characters but for newline and tab, what is no UTF-8, and the marks that change
// the direction of writing. A text of more than `most` bytes is cut, and how much is said.
std::string printable(std::string_view text, std::size_t most = std::size_t{1} << 16);

// No path is longer (PATH_MAX of Linux), and no name need be.
inline constexpr std::size_t kMostWordBytes = 4096;

// The same for a name or a value within a message: newlines and tabs are escaped too, so that it
// cannot be taken for a line of its own.
std::string printable_word(std::string_view text, std::size_t most = kMostWordBytes);
// Whether printable_word() shows the text as it is.
bool is_printable_word(std::string_view text, std::size_t most = kMostWordBytes);

// What another rank says, which may have several lines, as one line: spaces stand for line breaks.
std::string printable_line(std::string_view text);

// A code point with the number of its bytes, which is 0 for what is no UTF-8 (RFC 3629).
struct CodePoint {
  std::uint32_t value = 0;
  std::size_t bytes = 0;
};
// Of a text that is not empty.
CodePoint first_code_point(std::string_view text);
// Whether a terminal shows it as a character and nothing else; false for newline and tab.
bool is_harmless(std::uint32_t code_point);

}  // namespace gradwire
