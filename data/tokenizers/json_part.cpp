#include "data/tokenizers/json_part.h"

namespace gradwire {

void JsonPart::refuse(const std::string& why) const {
  throw Error(ErrorKind::kData,
              fmt::format("{}: {}{}{}", file_, name_, name_.empty() ? "" : ": ", why));
}

void JsonPart::refuse_type(const std::string& type, std::string_view supported) const {
  refuse(fmt::format("'{}' is not supported; {}", printable_word(type, 64), supported));
}

const nlohmann::json* JsonPart::find(const char* key) const {
  if (!value_.is_object()) return nullptr;
  const auto found = value_.find(key);
  return found == value_.end() || found->is_null() ? nullptr : &*found;
}

const nlohmann::json& JsonPart::get(const char* key) const {
  const nlohmann::json* const found = find(key);
  if (found == nullptr) refuse(fmt::format("'{}' is missing", key));
  return *found;
}

std::string JsonPart::name_of(const char* key) const {
  return name_.empty() ? key : fmt::format("{}.{}", name_, key);
}

std::string JsonPart::text(const char* key) const {
  const nlohmann::json& found = get(key);
  if (!found.is_string()) refuse(fmt::format("'{}' is no text", key));
  return found.get<std::string>();
}

std::string JsonPart::text(const char* key, const std::string& otherwise) const {
  return has(key) ? text(key) : otherwise;
}

bool JsonPart::flag(const char* key, bool otherwise) const {
  const nlohmann::json* const found = find(key);
  if (found == nullptr) return otherwise;
  if (!found->is_boolean()) refuse(fmt::format("'{}' is neither true nor false", key));
  return found->get<bool>();
}

std::int64_t JsonPart::integer(const char* key, std::int64_t low, std::int64_t high) const {
  const nlohmann::json& found = get(key);
  if (found.is_number_integer()) {
    const bool huge = found.is_number_unsigned() && found.get<std::uint64_t>() > INT64_MAX;
    const std::int64_t value = huge ? INT64_MAX : found.get<std::int64_t>();
    if (!huge && value >= low && value <= high) return value;
  }
  refuse(fmt::format("'{}' is no whole number from {} to {}", key, low, high));
}

JsonPart JsonPart::object(const char* key) const {
  const nlohmann::json& found = get(key);
  if (!found.is_object()) refuse(fmt::format("'{}' is no object", key));
  return {file_, name_of(key), found};
}

std::vector<JsonPart> JsonPart::items(const char* key) const {
  const nlohmann::json* const found = find(key);
  if (found == nullptr) return {};
  if (!found->is_array()) refuse(fmt::format("'{}' is no array", key));
  std::vector<JsonPart> items;
  for (std::size_t i = 0; i < found->size(); ++i)
    items.emplace_back(file_, fmt::format("{}[{}]", name_of(key), i), (*found)[i]);
  return items;
}

}  // namespace gradwire
