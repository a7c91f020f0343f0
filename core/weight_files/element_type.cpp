#include "core/weight_files/element_type.h"

namespace gradwire {

ElementLayout layout_of(ElementType type) {
  switch (type) {
    case ElementType::kF64: return {"F64", 1, 8};
    case ElementType::kF32: return {"F32", 1, 4};
    case ElementType::kF16: return {"F16", 1, 2};
    case ElementType::kBf16: return {"BF16", 1, 2};
    case ElementType::kI64: return {"I64", 1, 8};
    case ElementType::kI32: return {"I32", 1, 4};
    case ElementType::kI16: return {"I16", 1, 2};
    case ElementType::kI8: return {"I8", 1, 1};
    case ElementType::kU8: return {"U8", 1, 1};
    case ElementType::kBool: return {"BOOL", 1, 1};
    case ElementType::kQ8_0: return {"Q8_0", 32, 34};
    case ElementType::kQ5_1: return {"Q5_1", 32, 24};
    case ElementType::kQ5_0: return {"Q5_0", 32, 22};
    case ElementType::kQ4_1: return {"Q4_1", 32, 20};
    case ElementType::kQ4_0: return {"Q4_0", 32, 18};
    case ElementType::kQ6K: return {"Q6_K", 256, 210};
    case ElementType::kQ4K: return {"Q4_K", 256, 144};
  }
  return {"?", 1, 1};
}

bool is_decodable(ElementType type) {
  return type <= ElementType::kBf16 || type >= ElementType::kQ8_0;
}

std::optional<std::int64_t> size_in_bytes(ElementType type, std::span<const std::int64_t> dims) {
  const ElementLayout layout = layout_of(type);
  const std::int64_t row = dims.empty() ? 1 : dims.back();
  if (row % layout.block_elements != 0) return std::nullopt;
  // In the order of Shape::numel(), so that a zero at the end hides no product too large before it.
  std::int64_t elements = 1;
  for (const std::int64_t dim : dims) {
    if (dim < 0 || __builtin_mul_overflow(elements, dim, &elements)) return std::nullopt;
  }
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / layout.block_elements, layout.block_bytes, &bytes)) {
    return std::nullopt;
  }
  return bytes;
}

}  // namespace gradwire
