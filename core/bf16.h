// bfloat16 as storage: eight exponent bits, seven of mantissa; conversions round to nearest even
// and keep NaN a NaN. No arithmetic on purpose: convert to float, compute, convert back.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/hd.h"

namespace gradwire {

struct Bf16 {
  std::uint16_t bits = 0;

  Bf16() = default;
  GW_HD explicit Bf16(float x) : bits(round(x)) {}
  GW_HD explicit operator float() const {
    const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
    return from_bits(wide);
  }

 private:
  GW_HD static float from_bits(std::uint32_t wide) {
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
  }
  GW_HD static std::uint16_t round(float x) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    std::uint16_t narrow;  // the same but for NaN, which becomes the one canonical NaN
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow) : "f"(x));
    return narrow;
#else
    std::uint32_t wide;
    memcpy(&wide, &x, sizeof wide);
    const std::uint32_t nearest_even = wide + 0x7FFFu + ((wide >> 16) & 1u);
    const std::uint32_t quiet_nan = wide | 0x00400000u;
    const bool is_nan = (wide & 0x7FFFFFFFu) > 0x7F800000u;
    return static_cast<std::uint16_t>((is_nan ? quiet_nan : nearest_even) >> 16);
#endif
  }
};
static_assert(sizeof(Bf16) == 2);

// What a kernel computes in: bf16 widens to float, the others compute as they are.
template <class T>
struct ComputeType {
  using type = T;
};
template <>
struct ComputeType<Bf16> {
  using type = float;
};
template <class T>
using Compute = typename ComputeType<T>::type;

// Element i of an array of T, widened to what kernels compute in, and back. Functions, so that a
// loop marked `omp simd` has no class temporaries of its own: those would keep it from vectorising.
template <class T>
GW_HD Compute<T> load(const void* x, std::int64_t i) {
  return static_cast<Compute<T>>(static_cast<const T*>(x)[i]);
}
template <class T>
GW_HD void store(void* y, std::int64_t i, Compute<T> value) {
  static_cast<T*>(y)[i] = static_cast<T>(value);
}

}  // namespace gradwire
