// The loop of the norm sketch. Only for norm_sketch*.cpp.
#pragma once

#include <cstdint>

#include "core/simd.h"

namespace gradwire {

struct NormSketchKernels {
  // sums[(i + turn) mod kWidth] += (+-) x[i] for i < n <= kWidth. `signs` are n random bits.
  void (*fold)(const float* x, std::int64_t n, std::int64_t turn, const std::uint32_t* signs,
               float* sums);
};
GW_DECLARE_KERNELS(NormSketchKernels, norm_sketch_kernels);

}  // namespace gradwire
