// The one place where tests get their tolerances: a formula in the element type and the length of
// the reduction, never a number chosen to pass.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "core/device.h"

namespace gradwire::test {

// The spacing of numbers at 1.
constexpr double epsilon(DType t) {
  return t == DType::kBf16 ? 0x1p-7 : t == DType::kF32 ? 0x1p-23 : 0x1p-52;
}

// Relative error allowed to a result of `dtype` that sums `reduction_length` terms: rounding errors
// of either sign add up like a random walk. bf16 is summed in f32 and rounded at the end. The
// factor covers functions good to a few last places and results that pass through several
// roundings.
inline double tolerance(DType dtype, std::int64_t reduction_length = 1) {
  constexpr double kFactor = 8.0;
  const double length = static_cast<double>(std::max<std::int64_t>(1, reduction_length));
  const double summed = epsilon(dtype == DType::kBf16 ? DType::kF32 : dtype) * std::sqrt(length);
  return kFactor * std::max(epsilon(dtype), summed);
}

// |got - want| <= rel * max(|want|, scale); `scale` is the size of the terms that were summed, so
// that sums that cancel are judged by what went into them. NaN agrees with nothing.
inline bool agrees(double got, double want, double rel, double scale = 1.0) {
  if (std::isinf(want)) return got == want;
  return std::abs(got - want) <= rel * std::max(std::abs(want), scale);
}

// Central differences of a double function: the step that balances the third derivative against
// rounding, and the relative error left then (factor for the size of third derivatives).
inline double central_difference_step() {
  return std::cbrt(epsilon(DType::kF64));
}
inline double central_difference_tolerance(std::int64_t inputs) {
  constexpr double kFactor = 64.0;
  const double step = central_difference_step();
  return kFactor * step * step * std::sqrt(static_cast<double>(std::max<std::int64_t>(1, inputs)));
}

}  // namespace gradwire::test
