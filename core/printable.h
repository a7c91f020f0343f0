#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gradwire {

// Text from files, other programs or the network, fit for a terminal or a log: whatever could drive
// a terminal, or make text look like other text, is written as an escape such as \x1b or \u202e.
// That is control characters but for newline and tab, what is no UTF-8, and the marks that change
// the direction of writing. A text of more than `most` bytes is cut, and how much is said.
std::string printable(std::string_view text, std::size_t most = std::size_t{1} << 16);

}  // namespace gradwire
