// Elements of files to floats and back, block by block (core/weight_files/element_type.h).
#pragma once

#include <cstddef>
#include <span>

#include "core/weight_files/element_type.h"

namespace gradwire {

// `bytes` must be whole blocks and `out` as many elements. Errors: kShape if they are not, or if
// the type is an integer.
void decode(ElementType type, std::span<const std::byte> bytes, std::span<float> out);

// The reverse for F32, F16, BF16, Q8_0 and Q4_0, as ggml's reference does it, to the bit. Errors:
// kShape as above; kUsage for other types; kData for a value that the type cannot hold: one too
// large for F16, or not finite in a block.
void encode(ElementType type, std::span<const float> values, std::span<std::byte> out);

}  // namespace gradwire
