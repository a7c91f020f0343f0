// Normal forms of Unicode (UAX 15), by ICU. Bytes that are no UTF-8 stay as they are, and what is
// on either side of them is a text of its own.
#pragma once

#include <string>
#include <string_view>

namespace gradwire {

std::string composed(std::string_view text);    // NFC
std::string decomposed(std::string_view text);  // NFD

}  // namespace gradwire
