// The loop with which every codec begins: what goes in is put together in the first-level cache.
// Only for *_simd.cpp files, as lanes.h.
#pragma once

#include "comm/codec/input_kernels.h"
#include "comm/codec/lanes.h"
#include "core/math.h"

namespace gradwire::GW_ISA {

// Its highest bit: value is NaN or infinite, whose exponent, all ones, carries into the sign.
GW_HD std::uint32_t carry(float value) {
  return (math::bits_of(value) & 0x7FFFFFFFU) + 0x00800000U;
}

// c[i] = at(i, i % 32) for i below n. False: not all finite.
template <class At>
inline bool load_with(std::int64_t n, float* __restrict c, const At& at) {
  std::uint32_t carries = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    c[i] = at(i, static_cast<int>(i % kLanes));
    carries |= carry(c[i]);
  }
  return (carries >> 31) == 0;
}

// Asks for the lines of elements [i, i + kLanes) of a stream that may be null.
GW_HD void fetch(const float* stream, std::int64_t i) {
  if (stream == nullptr) return;
  __builtin_prefetch(stream + i);
  __builtin_prefetch(stream + i + kLanes / 2);
}

// The same for blocks of thousands; norm1 becomes the sum of magnitudes, lane by lane. `x` and
// `residual` are what at() reads: what comes next of them is asked for early, since while the rest
// of a block's work is done nothing is read, and the processor stops looking ahead.
template <class At>
inline bool load_with_norm1(std::int64_t n, float* __restrict c, double* norm1, const float* x,
                            const float* residual, const At& at) {
  constexpr std::int64_t kAhead = 1536;
  std::uint32_t carries[kLanes] = {};
  double lane[kLanes] = {};
  const std::int64_t whole = n / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
    fetch(x, i + kAhead);
    fetch(residual, i + kAhead);
    for (int l = 0; l < kLanes; ++l) {
      const float value = at(i + l, l);
      c[i + l] = value;
      carries[l] |= carry(value);
    }
    for (int l = 0; l < kLanes; ++l)
      lane[l] += static_cast<double>(__builtin_fabsf(c[i + l]));
  }
  for (std::int64_t i = whole; i < n; ++i) {
    const auto l = static_cast<int>(i - whole);
    c[i] = at(i, l);
    carries[l] |= carry(c[i]);
    lane[l] += static_cast<double>(__builtin_fabsf(c[i]));
  }
  for (int l = 1; l < kLanes; ++l)
    carries[0] |= carries[l];
  *norm1 = joined(lane);
  return (carries[0] >> 31) == 0;
}

}  // namespace gradwire::GW_ISA
