// The loops behind comm/reduce.h: one per operation and element type.
#pragma once

#include <cstdint>

#include "core/bf16.h"
#include "core/simd.h"

namespace gradwire {

struct CombineKernels {
  using Reduce = void (*)(void* dst, const void* const* srcs, int sources, std::int64_t n);
  // By DType; null if the operation does not apply.
  struct Row {
    Reduce of[6];
  };
  Row sum, mean, max, min, bitwise_or;
};
GW_DECLARE_KERNELS(CombineKernels, combine_kernels);

}  // namespace gradwire
