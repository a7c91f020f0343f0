// Passes of 1-bit LAMB over one parameter, which leave a direction: how far to go along it takes
// its norm.
#pragma once

#include <cstdint>

#include "core/device.h"
#include "core/simd.h"
#include "optim/onebit_lamb_math.h"

namespace gradwire {

struct LambArrays {
  const float* value = nullptr;
  const float* grad = nullptr;  // null: a gradient of zero
  float* m = nullptr;
  float* v = nullptr;
  float* fresh = nullptr;
  float* work = nullptr;  // becomes the direction; frozen: the momentum before the exchange, first
};

struct LambKernels {
  void (*dense)(const LambMath& math, const LambArrays& a, std::int64_t begin, std::int64_t end);
  // Returns the largest d(v) / d(fresh v).
  float (*frozen)(const LambMath& math, const LambArrays& a, std::int64_t begin, std::int64_t end);
};
GW_DECLARE_KERNELS(LambKernels, lamb_kernels);

namespace cuda {
void lamb_dense(Stream s, const LambMath& math, const LambArrays& a, std::int64_t n);
// Raises *largest, on the device, to the largest ratio; it must be >= 0 before.
void lamb_frozen(Stream s, const LambMath& math, const LambArrays& a, float* largest,
                 std::int64_t n);
}  // namespace cuda

}  // namespace gradwire
