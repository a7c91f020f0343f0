// The loops of PowerSGD. Not the library's products: their factors are too thin for it, and every
// rank must find the same bits whatever its processor.
#pragma once

#include <cstdint>

#include "core/simd.h"

namespace gradwire {

struct LowRankKernels {
  static constexpr int kMost = 4;  // vectors in one call
  // out[k] = the sum of x[i] y[k][i] over i < n, for k < count <= kMost.
  void (*dots)(const float* x, const float* const* y, int count, std::int64_t n, float* out);
  // y = the sum of c[k] x[k] over k < count <= kMost, in this order, after y itself if `add`.
  void (*combine)(bool add, const float* c, const float* const* x, int count, std::int64_t n,
                  float* y);
  // Of n doubles, a multiple of kDoubles: the sum of a[i] b[i]; y -= c x.
  static constexpr std::int64_t kDoubles = 32;
  double (*dot)(const double* a, const double* b, std::int64_t n);
  void (*subtract)(double c, const double* x, std::int64_t n, double* y);
};
GW_DECLARE_KERNELS(LowRankKernels, low_rank_kernels);

}  // namespace gradwire
