// The fused SGD update: one pass over value, gradient and momentum.
#pragma once

#include <cstdint>

#include "core/device.h"
#include "core/simd.h"
#include "optim/sgd_math.h"

namespace gradwire {

struct SgdArrays {
  float* value = nullptr;
  const float* grad = nullptr;  // null: a gradient of zero
  float* m = nullptr;           // null: no momentum
};

struct SgdKernels {
  void (*step)(const SgdMath& math, const SgdArrays& a, std::int64_t begin, std::int64_t end);
};
GW_DECLARE_KERNELS(SgdKernels, sgd_kernels);

namespace cuda {
void sgd_step(Stream s, const SgdMath& math, const SgdArrays& a, std::int64_t n);
}  // namespace cuda

}  // namespace gradwire
