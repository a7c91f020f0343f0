#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/elementwise/elementwise_kernels.h"
#include "core/ops/elementwise/on_unary_cuda.h"
#include "core/tensor.h"

namespace gradwire::cuda {
namespace {

template <class T, class Fn>
struct Map {
  T* y;
  const T* x;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<T, kWidth> v = load_pack<kWidth>(x + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      v.v[k] = static_cast<T>(Fn::f(widen(v.v[k])));
    store_pack(y + i, v);
  }
};

template <class T, class Fn>
struct MapGrad {
  T* dx;
  const T* x;
  const T* dy;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const Pack<T, kWidth> in = load_pack<kWidth>(x + i);
    Pack<T, kWidth> d = load_pack<kWidth>(dy + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      d.v[k] = static_cast<T>(Fn::df(widen(in.v[k])) * widen(d.v[k]));
    store_pack(dx + i, d);
  }
};

template <class T>
struct Scaled {
  T* y;
  const T* x;
  Compute<T> factor;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<T, kWidth> v = load_pack<kWidth>(x + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      v.v[k] = static_cast<T>(factor * widen(v.v[k]));
    store_pack(y + i, v);
  }
};

}  // namespace

void unary(Stream s, Unary which, const Tensor& y, const Tensor& x) {
  on_float(x.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    constexpr int kWidth = kPackWidth<T>;
    T* to = y.data<T>();
    const T* from = x.data<T>();
    on_unary(which, [&](auto fn) {
      each<kWidth>(s, y.numel(), aligned_for<kWidth>(to, from), Map<T, decltype(fn)>{to, from});
    });
  });
}

void unary_grad(Stream s, Unary which, const Tensor& dx, const Tensor& x, const Tensor& dy) {
  on_float(x.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    constexpr int kWidth = kPackWidth<T>;
    T* to = dx.data<T>();
    const T* at = x.data<T>();
    const T* from = dy.data<T>();
    on_unary(which, [&](auto fn) {
      each<kWidth>(s, dx.numel(), aligned_for<kWidth>(to, at, from),
                   MapGrad<T, decltype(fn)>{to, at, from});
    });
  });
}

void scaled(Stream s, const Tensor& y, const Tensor& x, double factor) {
  on_float(x.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    constexpr int kWidth = kPackWidth<T>;
    T* to = y.data<T>();
    const T* from = x.data<T>();
    each<kWidth>(s, y.numel(), aligned_for<kWidth>(to, from),
                 Scaled<T>{to, from, static_cast<Compute<T>>(factor)});
  });
}

}  // namespace gradwire::cuda
