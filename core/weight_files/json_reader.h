// JSON from files of models, which are hostile input.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace gradwire {

// An object whose keys are unique, nested no deeper than `deepest` (1: values that are no objects
// or arrays). Errors: kData, beginning with `what`, for anything else.
nlohmann::json read_json_object(const std::string& what, std::string_view text, int deepest);

}  // namespace gradwire
