// Sums that come out the same for every instruction set: in lanes, whose number is fixed instead of
// following the width of the processor's vectors. Only for *_simd.cpp files.
#pragma once

#include <cstdint>

#include "core/hd.h"

namespace gradwire {

inline constexpr int kLanes = 32;

// The sum of kLanes lanes, joined in halves.
template <class C>
GW_HD C joined(C* lane) {
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int l = 0; l < half; ++l)
      lane[l] += lane[l + half];
  return lane[0];
}

// The sum of f(i) for i below n, in C: lane l takes i = l, l + 32, ..., and lanes are joined in
// halves. f is called once for each i, in no fixed order.
template <class C, class F>
GW_HD C lane_sum(std::int64_t n, const F& f) {
  C lane[kLanes] = {};
  const std::int64_t whole = n / kLanes * kLanes;
  for (std::int64_t i = 0; i < whole; i += kLanes) {
#pragma omp simd
    for (int l = 0; l < kLanes; ++l)
      lane[l] += f(i + l);
  }
  const auto rest = static_cast<int>(n - whole);
#pragma omp simd
  for (int l = 0; l < rest; ++l)
    lane[l] += f(whole + l);
  return joined(lane);
}

}  // namespace gradwire
