// Loops behind rope(): one position of all heads at a time.
#pragma once

#include <cstdint>

#include "core/bf16.h"
#include "core/device.h"
#include "core/simd.h"

namespace gradwire {

class Tensor;
struct Context;
struct RopeOptions;

// The turn of one position: element j and j + half of each head turn by an angle with this cosine
// and sine; `sign` -1 turns back.
template <class C>
struct RopeTurn {
  const C* cosine;
  const C* sine;
  std::int64_t half;
  C sign;
};

struct RopeKernels {
  void (*f32)(const float* x, float* y, std::int64_t heads, const RopeTurn<float>& turn);
  void (*f64)(const double* x, double* y, std::int64_t heads, const RopeTurn<double>& turn);
  void (*bf16)(const Bf16* x, Bf16* y, std::int64_t heads, const RopeTurn<float>& turn);
};
GW_DECLARE_KERNELS(RopeKernels, rope_kernels);

// y = x turned by sign times the angle of each position. The angles are kept in tables of the
// context's engine.
namespace cuda {
void rope(Context& cx, const Tensor& x, const Tensor& y, const RopeOptions& o, double sign);
}  // namespace cuda

}  // namespace gradwire
