#include "core/ops/rope/rope_kernels.h"

namespace gradwire::GW_ISA {
namespace {

template <class T>
void turn_heads(const T* x, T* y, std::int64_t heads, const RopeTurn<Compute<T>>& turn) {
  using C = Compute<T>;
  const std::int64_t half = turn.half;
  for (std::int64_t h = 0; h < heads; ++h) {
    const T* __restrict low = x + 2 * h * half;
    const T* __restrict high = low + half;
    T* __restrict out_low = y + 2 * h * half;
    T* __restrict out_high = out_low + half;
#pragma omp simd
    for (std::int64_t j = 0; j < half; ++j) {
      const C a = static_cast<C>(low[j]), b = static_cast<C>(high[j]);
      const C c = turn.cosine[j], s = turn.sign * turn.sine[j];
      out_low[j] = static_cast<T>(a * c - b * s);
      out_high[j] = static_cast<T>(b * c + a * s);
    }
  }
}

}  // namespace

const RopeKernels rope_kernels{&turn_heads<float>, &turn_heads<double>, &turn_heads<Bf16>};

}  // namespace gradwire::GW_ISA
