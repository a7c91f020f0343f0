#include "core/ops/softmax/row_max.h"
#include "core/ops/softmax/softmax_kernels.h"

namespace gradwire::GW_ISA {
namespace {

template <class T>
void softmax(void* y, const void* x, std::int64_t rows, std::int64_t width) {
  using C = Compute<T>;
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* in = static_cast<const T*>(x) + r * width;
    T* out = static_cast<T*>(y) + r * width;
    const C most = max_of<T>(in, width);
    const C sum = lane_sum<C>(width, [=](std::int64_t i) {
      const C e = math::exp(load<T>(in, i) - most);
      store<T>(out, i, e);
      return e;
    });
    const C inverse = C(1) / sum;
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i)
      store<T>(out, i, load<T>(out, i) * inverse);
  }
}

// bf16 would round the exponentials once on the way; they are made twice instead.
template <>
void softmax<Bf16>(void* y, const void* x, std::int64_t rows, std::int64_t width) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const Bf16* in = static_cast<const Bf16*>(x) + r * width;
    Bf16* out = static_cast<Bf16*>(y) + r * width;
    const float most = max_of<Bf16>(in, width);
    const float inverse = 1.0F / sum_of_exp<Bf16>(in, most, width);
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) {
      store<Bf16>(out, i, math::exp(load<Bf16>(in, i) - most) * inverse);
    }
  }
}

template <class T>
void log_softmax(void* y, const void* x, std::int64_t rows, std::int64_t width) {
  using C = Compute<T>;
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* in = static_cast<const T*>(x) + r * width;
    T* out = static_cast<T*>(y) + r * width;
    const C most = max_of<T>(in, width);
    const C log_sum = math::log(sum_of_exp<T>(in, most, width));
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i)
      store<T>(out, i, (load<T>(in, i) - most) - log_sum);
  }
}

// dx = y (dy - <dy, y>)
template <class T>
void softmax_grad(void* dx, const void* y, const void* dy, std::int64_t rows, std::int64_t width) {
  using C = Compute<T>;
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* p = static_cast<const T*>(y) + r * width;
    const T* d = static_cast<const T*>(dy) + r * width;
    T* out = static_cast<T*>(dx) + r * width;
    const C dot = lane_sum<C>(width, [=](std::int64_t i) { return load<T>(d, i) * load<T>(p, i); });
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) {
      store<T>(out, i, load<T>(p, i) * (load<T>(d, i) - dot));
    }
  }
}

// dx = dy - e^y sum(dy)
template <class T>
void log_softmax_grad(void* dx, const void* y, const void* dy, std::int64_t rows,
                      std::int64_t width) {
  using C = Compute<T>;
  for (std::int64_t r = 0; r < rows; ++r) {
    const T* p = static_cast<const T*>(y) + r * width;
    const T* d = static_cast<const T*>(dy) + r * width;
    T* out = static_cast<T*>(dx) + r * width;
    const C sum = lane_sum<C>(width, [=](std::int64_t i) { return load<T>(d, i); });
#pragma omp simd
    for (std::int64_t i = 0; i < width; ++i) {
      store<T>(out, i, load<T>(d, i) - math::exp(load<T>(p, i)) * sum);
    }
  }
}

}  // namespace

const SoftmaxKernels softmax_kernels{
    {{softmax<float>, softmax<double>, softmax<Bf16>},
     {log_softmax<float>, log_softmax<double>, log_softmax<Bf16>}},
    {{softmax_grad<float>, softmax_grad<double>, softmax_grad<Bf16>},
     {log_softmax_grad<float>, log_softmax_grad<double>, log_softmax_grad<Bf16>}}};

}  // namespace gradwire::GW_ISA
