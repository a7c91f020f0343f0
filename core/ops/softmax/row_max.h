// The statistics of a row that softmax and cross-entropy share: its maximum, and the sum of
// exponentials with the maximum taken out, so that none overflows. For *_simd.cpp files only.
#pragma once

#include "core/bf16.h"
#include "core/lanes.h"
#include "core/math.h"

namespace gradwire::GW_ISA {
namespace {

template <class T>
Compute<T> max_of(const void* x, std::int64_t n) {
  using C = Compute<T>;
  C most = -static_cast<C>(__builtin_huge_val());
#pragma omp simd reduction(max : most)
  for (std::int64_t i = 0; i < n; ++i) {
    const C v = load<T>(x, i);
    most = v > most ? v : most;
  }
  return most;
}

template <class T>
Compute<T> sum_of_exp(const void* x, Compute<T> most, std::int64_t n) {
  return lane_sum<Compute<T>>(n, [=](std::int64_t i) { return math::exp(load<T>(x, i) - most); });
}

}  // namespace
}  // namespace gradwire::GW_ISA
