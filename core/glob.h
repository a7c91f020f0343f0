// Patterns over parameter names: `*` stands for any run of characters, dots included, `?` for one
// character; everything else for itself. The whole name must match. One grammar for every place in
// a recipe that names parameters: decay exclusion, trainable masks, injection sites.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace gradwire {

// Linear in the name for every pattern with one star, at worst |name| * |pattern|.
bool matches(std::string_view name, std::string_view pattern);
// False for an empty list.
bool matches_any(std::string_view name, std::span<const std::string> patterns);

}  // namespace gradwire
