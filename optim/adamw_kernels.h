// The fused AdamW update: one pass over value, gradient and both moments, each read and written
// once.
#pragma once

#include <cstdint>
#include <span>

#include "core/device.h"
#include "core/simd.h"
#include "optim/adamw_math.h"

namespace gradwire {

struct AdamWArrays {
  float* value = nullptr;
  const float* grad = nullptr;  // null: a gradient of zero
  float* m = nullptr;
  float* v = nullptr;
};

struct AdamWKernels {
  void (*step)(const AdamWMath& math, const AdamWArrays& a, std::int64_t begin, std::int64_t end);
};
GW_DECLARE_KERNELS(AdamWKernels, adamw_kernels);

// One parameter of n elements.
struct AdamWPart {
  AdamWMath math;
  AdamWArrays arrays;
  std::int64_t n = 0;
};

namespace cuda {
// Many parameters a launch: most of a model's are too small to fill a GPU.
void adamw_step(Stream s, std::span<const AdamWPart> parts);
}  // namespace cuda

}  // namespace gradwire
