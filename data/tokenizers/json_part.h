// A part of a tokenizer.json with its name, so that what is wrong with it can be said:
// "pre_tokenizer: Digits: ...". Every error is kData and begins with the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"
#include "core/weight_files/json_reader.h"

namespace gradwire {

class JsonPart {
 public:
  // The file and the value must outlive it.
  JsonPart(const std::string& file, std::string name, const nlohmann::json& value)
      : file_(file), name_(std::move(name)), value_(value) {}

  const nlohmann::json& value() const noexcept { return value_; }
  [[noreturn]] void refuse(const std::string& why) const;
  // For a "type" of this part that is not supported; `supported` lists those that are.
  [[noreturn]] void refuse_type(const std::string& type, std::string_view supported) const;

  // Whether the part has a value under this name that is not null. False for what is no object.
  bool has(const char* key) const { return find(key) != nullptr; }
  // Errors: another type than asked for, and without an `otherwise`, a missing value.
  std::string text(const char* key) const;
  std::string text(const char* key, const std::string& otherwise) const;
  bool flag(const char* key, bool otherwise) const;
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high) const;
  JsonPart object(const char* key) const;
  // The elements of an array; none if it is missing.
  std::vector<JsonPart> items(const char* key) const;
  // What kind of thing this part is.
  std::string type() const { return text("type"); }

 private:
  const nlohmann::json* find(const char* key) const;
  const nlohmann::json& get(const char* key) const;
  std::string name_of(const char* key) const;

  const std::string& file_;
  std::string name_;
  const nlohmann::json& value_;
};

}  // namespace gradwire
