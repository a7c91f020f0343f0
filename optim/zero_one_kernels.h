// Passes of 0/1 Adam over one parameter. `grad` may be null: a gradient of zero.
#pragma once

#include <cstdint>

#include "core/device.h"
#include "core/simd.h"
#include "optim/zero_one_math.h"

namespace gradwire {

struct ZeroOneArrays {
  float* value = nullptr;
  const float* grad = nullptr;
  float* m = nullptr;
  const float* v = nullptr;
  float* u = nullptr;
  const float* anchor = nullptr;  // may be the value itself
};

struct ZeroOneKernels {
  using Pass = void (*)(const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t begin,
                        std::int64_t end);
  Pass collect;  // m and u from the gradient
  Pass local;    // the same, and the value
  Pass settle;   // m from u, which is the agreed momentum, and the value
};
GW_DECLARE_KERNELS(ZeroOneKernels, zero_one_kernels);

namespace cuda {
void zero_one_collect(Stream s, const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t n);
void zero_one_local(Stream s, const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t n);
void zero_one_settle(Stream s, const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t n);
}  // namespace cuda

}  // namespace gradwire
