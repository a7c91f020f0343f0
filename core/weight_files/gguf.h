// Reading GGUF version 3, the file of ggml and llama.cpp: metadata by key, and tensors
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). Files are hostile input: counts and
// lengths are checked against the file before anything is allocated for them. Errors: kData, naming
// file and key or tensor; those of MappedFile.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/weight_files/stored_tensor.h"

namespace gradwire {

enum class GgufType : std::uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
  kCount,
};

// A value of the metadata, where it lies in the file.
struct GgufValue {
  GgufType type = GgufType::kU8;
  GgufType element = GgufType::kU8;  // of an array; else the type itself
  std::uint64_t count = 1;           // elements of an array
  std::span<const std::byte> bytes{};
};

class GgufFile {
 public:
  static GgufFile open(const std::string& path);
  // Whether a file begins as GGUF does.
  static bool is_gguf(const std::string& path);

  const std::string& path() const noexcept { return file_->path(); }
  // Shapes are in the order of this project, the last dimension fastest: a matrix is [out, in].
  const StoredTensors& tensors() const noexcept { return tensors_; }
  const std::map<std::string, GgufValue, std::less<>>& metadata() const noexcept {
    return metadata_;
  }

  bool has(std::string_view key) const { return metadata_.contains(key); }
  // Errors: kData for a key that is missing or of another kind: any integer type is an integer, and
  // an integer is a number as well.
  std::string text(std::string_view key) const;
  std::int64_t integer(std::string_view key) const;
  double number(std::string_view key) const;
  bool flag(std::string_view key) const;
  std::vector<std::string> texts(std::string_view key) const;
  std::vector<std::int64_t> integers(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;

 private:
  friend class GgufReader;
  const GgufValue& value(std::string_view key) const;
  [[noreturn]] void refuse_kind(std::string_view key, const char* wanted) const;

  std::shared_ptr<const MappedFile> file_;
  std::map<std::string, GgufValue, std::less<>> metadata_;
  StoredTensors tensors_;
};

}  // namespace gradwire
