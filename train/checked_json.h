// JSON from files that may be damaged, or made to harm: what nests without end would take far more
// memory than its text and end the process when it is written out, and a number that does not fit
// its type would become another one.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace gradwire {

// Errors: kData if it nests more than 16 levels, four times what is written here;
// nlohmann::json::exception for what is no JSON.
inline nlohmann::json parse_checked(const std::string& text) {
  constexpr int kMostLevels = 16;
  const auto keep = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    check(depth <= kMostLevels, ErrorKind::kData, "nested too deeply");
    return true;
  };
  return nlohmann::json::parse(text, keep);
}

// Errors: kData for what is no whole number in [low, high].
inline std::int64_t integer_in(const nlohmann::json& value, std::int64_t low, std::int64_t high) {
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() || value.get<std::uint64_t>() <= kMost);
  const std::int64_t number = fits ? value.get<std::int64_t>() : low;
  if (fits && number >= low && number <= high) return number;
  const std::string found = value.is_primitive() ? value.dump(-1, ' ', true) : value.type_name();
  throw Error(ErrorKind::kData, fmt::format("a whole number from {} to {} expected, {} found", low,
                                            high, found.substr(0, 64)));
}

}  // namespace gradwire
