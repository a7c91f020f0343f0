#include "core/lanes.h"
#include "core/ops/norm/norm_kernels.h"

namespace gradwire::GW_ISA {
namespace {

template <class T>
const T* row_of(const void* x, std::int64_t row, std::int64_t width) {
  return static_cast<const T*>(x) + row * width;
}
template <class T>
T* row_of(void* x, std::int64_t row, std::int64_t width) {
  return static_cast<T*>(x) + row * width;
}

float square_root(float x) {
  return __builtin_sqrtf(x);
}
double square_root(double x) {
  return __builtin_sqrt(x);
}

template <class T>
Compute<T> mean_of(const T* x, std::int64_t n) {
  using C = Compute<T>;
  return lane_sum<C>(n, [=](std::int64_t i) { return load<T>(x, i); }) / static_cast<C>(n);
}

// 1 / sqrt(mean((x - centre)^2) + eps): after the mean, so that close values do not cancel.
template <class T>
Compute<T> rstd_of(const T* x, Compute<T> centre, std::int64_t n, double eps) {
  using C = Compute<T>;
  const C sum = lane_sum<C>(n, [=](std::int64_t i) {
    const C v = load<T>(x, i) - centre;
    return v * v;
  });
  return C(1) / square_root(sum / static_cast<C>(n) + static_cast<C>(eps));
}

template <class T>
void forward(const NormForward& a, std::int64_t begin, std::int64_t end) {
  using C = Compute<T>;
  const C* w = static_cast<const C*>(a.weight);
  const C* b = static_cast<const C*>(a.bias);
  const std::int64_t n = a.width;
  for (std::int64_t r = begin; r < end; ++r) {
    const T* x = row_of<T>(a.x, r, n);
    T* y = row_of<T>(a.y, r, n);
    const C mean = a.mean != nullptr ? mean_of(x, n) : C(0);
    const C rstd = rstd_of(x, mean, n, a.eps);
    if (a.mean != nullptr) static_cast<C*>(a.mean)[r] = mean;
    static_cast<C*>(a.rstd)[r] = rstd;
    if (b == nullptr) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i)
        store<T>(y, i, (load<T>(x, i) - mean) * rstd * w[i]);
    } else {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        store<T>(y, i, (load<T>(x, i) - mean) * rstd * w[i] + b[i]);
      }
    }
  }
}

// With g = dy w and h = (x - mean) rstd: dx = rstd (g - mean(g) - h mean(g h)), where rmsnorm has
// no mean(g).
template <class T>
void backward_x(const NormBackward& a, std::int64_t r, Compute<T> mean, Compute<T> rstd) {
  using C = Compute<T>;
  const std::int64_t n = a.width;
  const C* w = static_cast<const C*>(a.weight);
  const T* x = row_of<T>(a.x, r, n);
  const T* dy = row_of<T>(a.dy, r, n);
  T* dx = row_of<T>(a.dx, r, n);
  const auto g_at = [=](std::int64_t i) { return load<T>(dy, i) * w[i]; };
  const C mean_g = a.mean != nullptr ? lane_sum<C>(n, g_at) / static_cast<C>(n) : C(0);
  const C sum_gh = lane_sum<C>(n, [=](std::int64_t i) { return g_at(i) * (load<T>(x, i) - mean); });
  const C slope = sum_gh * rstd * rstd / static_cast<C>(n);  // of mean(g h) h in x - mean
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    store<T>(dx, i, rstd * (g_at(i) - mean_g - (load<T>(x, i) - mean) * slope));
  }
}

template <class T>
void backward(const NormBackward& a, std::int64_t begin, std::int64_t end) {
  using C = Compute<T>;
  const std::int64_t n = a.width;
  C* __restrict dw = static_cast<C*>(a.dweight);
  C* __restrict db = static_cast<C*>(a.dbias);
  for (std::int64_t i = 0; dw != nullptr && i < n; ++i)
    dw[i] = C(0);
  for (std::int64_t i = 0; db != nullptr && i < n; ++i)
    db[i] = C(0);
  for (std::int64_t r = begin; r < end; ++r) {
    const C mean = a.mean != nullptr ? static_cast<const C*>(a.mean)[r] : C(0);
    const C rstd = static_cast<const C*>(a.rstd)[r];
    const T* x = row_of<T>(a.x, r, n);
    const T* dy = row_of<T>(a.dy, r, n);
    if (a.dx != nullptr) backward_x<T>(a, r, mean, rstd);
    if (dw != nullptr) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        dw[i] += load<T>(dy, i) * ((load<T>(x, i) - mean) * rstd);
      }
    }
    if (db != nullptr) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i)
        db[i] += load<T>(dy, i);
    }
  }
}

}  // namespace

const NormKernels norm_kernels{{forward<float>, forward<double>, forward<Bf16>},
                               {backward<float>, backward<double>, backward<Bf16>}};

}  // namespace gradwire::GW_ISA
