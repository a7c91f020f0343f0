// How the elements of a tensor stand in the files of models: plain numbers, or the blocks of ggml,
// in which 32 or 256 weights share a scale.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

namespace gradwire {

enum class ElementType : std::uint8_t {
  kF64,
  kF32,
  kF16,
  kBf16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  kQ8_0,
  kQ5_1,
  kQ5_0,
  kQ4_1,
  kQ4_0,
  kQ6K,
  kQ4K,
};

struct ElementLayout {
  const char* name;  // "F32", "Q4_1"
  std::int64_t block_elements;
  std::int64_t block_bytes;
};
ElementLayout layout_of(ElementType type);
inline const char* name_of(ElementType type) {
  return layout_of(type).name;
}
// True of what decode() makes into floats: not of integers.
bool is_decodable(ElementType type);

// Bytes of a tensor whose rows, the last dimension, are whole blocks. Nothing if a dimension is
// negative, a row is not a number of whole blocks, or there are 2^63 bytes or elements or more,
// even if another dimension is zero.
std::optional<std::int64_t> size_in_bytes(ElementType type, std::span<const std::int64_t> dims);

}  // namespace gradwire
