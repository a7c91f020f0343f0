#include "core/cuda/device_cuda.h"
#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/dispatch.h"
#include "core/ops/axis.h"
#include "core/ops/reduce/reduce_kernels.h"

namespace gradwire::cuda {
namespace {

template <class T>
struct Element {
  const T* x;
  __device__ Compute<T> operator()(std::int64_t i) const { return widen(x[i]); }
};
template <class T>
struct Square {
  const T* x;
  __device__ double operator()(std::int64_t i) const {
    const double v = static_cast<double>(widen(x[i]));
    return v * v;
  }
};
template <class T>
struct ElementOfColumn {
  const T* x;
  std::int64_t inner;
  __device__ Compute<T> operator()(std::int64_t row, std::int64_t column) const {
    return widen(x[row * inner + column]);
  }
};

template <class C>
struct AddTo {
  C* out;
  float beta;
  __device__ void operator()(std::int64_t i, double sum) const {
    out[i] = static_cast<C>(sum + (beta == 0.0F ? 0.0 : static_cast<double>(out[i])));
  }
};

template <class T>
struct Spread {
  T* y;
  const Compute<T>* x;
  Compute<T> factor;
  std::int64_t length, inner;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const std::int64_t row = i / inner;
    y[i] = static_cast<T>(factor * x[row / length * inner + (i - row * inner)]);
  }
};

__device__ bool finite(float x) {
  return isfinite(x);
}
__device__ bool finite(double x) {
  return isfinite(x);
}

template <class T>
struct FlagUnlessFinite {
  const T* x;
  int* found;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const Pack<T, kWidth> p = load_pack<kWidth>(x + i);
    bool all = true;
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      all = all && finite(widen(p.v[k]));
    if (!all) *found = 1;  // whoever writes, writes the same
  }
};

}  // namespace

void sum_axis(Context& cx, const Tensor& out, const Tensor& x, const Axis& axis, float beta) {
  on_float(x.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    using C = Compute<T>;
    if (axis.inner == 1) {
      row_sums<C>(cx, axis.outer, axis.length, Element<T>{x.data<T>()},
                  AddTo<C>{out.data<C>(), beta});
    } else {
      column_sums<C>(cx, out, beta, axis, ElementOfColumn<T>{x.data<T>(), axis.inner});
    }
  });
}

void spread_axis(Stream s, const Tensor& y, const Tensor& x, const Axis& axis, double factor) {
  on_float(y.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    using C = Compute<T>;
    each<1>(s, y.numel(), true,
            Spread<T>{y.data<T>(), x.data<C>(), static_cast<C>(factor), axis.length, axis.inner});
  });
}

double sum_of_squares(Context& cx, std::span<const Tensor> tensors) {
  if (tensors.empty()) return 0.0;
  Context scratch = cx.in(Segment::kScratch);
  const Tensor sums =
      Tensor::empty(scratch, {static_cast<std::int64_t>(tensors.size())}, DType::kF64);
  double* sum = sums.data<double>();
  for (const Tensor& t : tensors) {
    on_float(t.dtype(), [&](auto element) {
      using T = typename decltype(element)::type;
      row_sums<double>(cx, 1, t.numel(), Square<T>{t.data<T>()}, PutDouble{sum});
    });
    ++sum;
  }
  double total = 0.0;
  for (const double x : sums.to_host<double>(cx))
    total += x;
  return total;
}

bool all_finite(Context& cx, const Tensor& t) {
  Context scratch = cx.in(Segment::kScratch);
  const Tensor found = Tensor::zeros(scratch, {1}, DType::kI32);
  on_float(t.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    constexpr int kWidth = kPackWidth<T>;
    const T* x = t.data<T>();
    each<kWidth>(cx.stream, t.numel(), aligned_for<kWidth>(x),
                 FlagUnlessFinite<T>{x, found.data<std::int32_t>()});
  });
  return found.to_host<std::int32_t>(cx).front() == 0;
}

}  // namespace gradwire::cuda
