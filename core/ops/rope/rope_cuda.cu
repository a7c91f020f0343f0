#include <cmath>

#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/rope/rope.h"
#include "core/ops/rope/rope_kernels.h"

namespace gradwire::cuda {
namespace {

template <class T>
struct Turn {
  T* y;
  const T* x;
  std::int64_t time, heads, half, start;
  double log_theta, sign;
  // Pair i: element `i % half` of every head of row `i / half`, which all turn by one angle. The
  // angle is made in double: in float it would lose its last digits at large positions.
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    using C = Compute<T>;
    const std::int64_t row = i / half, j = i - row * half;
    const double position = static_cast<double>(start + row % time);
    double sine = 0.0, cosine = 0.0;
    sincos(position * ::exp(-static_cast<double>(j) / static_cast<double>(half) * log_theta), &sine,
           &cosine);
    const C c = static_cast<C>(cosine), s = static_cast<C>(sign * sine);
    for (std::int64_t h = 0; h < heads; ++h) {
      const std::int64_t low = (row * heads + h) * 2 * half + j;
      const C a = widen(x[low]), b = widen(x[low + half]);
      y[low] = static_cast<T>(a * c - b * s);
      y[low + half] = static_cast<T>(b * c + a * s);
    }
  }
};

}  // namespace

void rope(Stream s, const Tensor& x, const Tensor& y, const RopeOptions& o, double sign) {
  const std::int64_t time = x.dim(1), half = x.dim(2) / (2 * o.heads);
  on_float(x.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    each<1>(
        s, x.dim(0) * time * half, true,
        Turn<T>{y.data<T>(), x.data<T>(), time, o.heads, half, o.start, std::log(o.theta), sign});
  });
}

}  // namespace gradwire::cuda
