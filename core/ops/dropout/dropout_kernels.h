// The loop behind dropout; table indexed by float_index(). The same loop serves forward (x -> y)
// and backward (dy -> dx).
#pragma once

#include "core/bf16.h"
#include "core/device.h"
#include "core/simd.h"

namespace gradwire {

class Tensor;

struct DropoutMask {
  std::uint64_t seed;
  std::uint64_t first;      // number of element 0; a multiple of four
  std::uint32_t threshold;  // dropout_math.h
  double scale;             // of what is kept
};

struct DropoutKernels {
  // Elements [begin, end) of y and x; begin is a multiple of four.
  void (*apply[3])(void* y, const void* x, const DropoutMask& mask, std::int64_t begin,
                   std::int64_t end);
};
GW_DECLARE_KERNELS(DropoutKernels, dropout_kernels);

namespace cpu {
void dropout(const Tensor& y, const Tensor& x, const DropoutMask& mask);
}  // namespace cpu
namespace cuda {
void dropout(Stream s, const Tensor& y, const Tensor& x, const DropoutMask& mask);
}  // namespace cuda

}  // namespace gradwire
