#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/elementwise/elementwise_kernels.h"
#include "core/ops/elementwise/on_unary_cuda.h"
#include "core/tensor.h"

namespace gradwire::cuda {
namespace {

template <class T, class Fn>
struct Gated {
  T* y;
  const T* gate;
  const T* up;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const Pack<T, kWidth> g = load_pack<kWidth>(gate + i);
    Pack<T, kWidth> v = load_pack<kWidth>(up + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      v.v[k] = static_cast<T>(Fn::f(widen(g.v[k])) * widen(v.v[k]));
    store_pack(y + i, v);
  }
};

template <class T, class Fn>
struct GatedBackward {
  T* dgate;
  T* dup;
  const T* gate;
  const T* up;
  const T* dy;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<T, kWidth> g = load_pack<kWidth>(gate + i);
    Pack<T, kWidth> u = load_pack<kWidth>(up + i);
    const Pack<T, kWidth> d = load_pack<kWidth>(dy + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const Compute<T> at_gate = widen(g.v[k]), slope = widen(d.v[k]);
      g.v[k] = static_cast<T>(slope * widen(u.v[k]) * Fn::df(at_gate));
      u.v[k] = static_cast<T>(slope * Fn::f(at_gate));
    }
    store_pack(dgate + i, g);
    store_pack(dup + i, u);
  }
};

}  // namespace

void gated(Stream s, Unary act, const Tensor& y, const Tensor& gate, const Tensor& up) {
  on_float(y.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    constexpr int kWidth = kPackWidth<T>;
    T* to = y.data<T>();
    const T* g = gate.data<T>();
    const T* u = up.data<T>();
    on_unary(act, [&](auto fn) {
      each<kWidth>(s, y.numel(), aligned_for<kWidth>(to, g, u), Gated<T, decltype(fn)>{to, g, u});
    });
  });
}

void gated_grad(Stream s, Unary act, const GatedGrad& g) {
  on_float(g.dy.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    constexpr int kWidth = kPackWidth<T>;
    T* dgate = g.dgate.data<T>();
    T* dup = g.dup.data<T>();
    const T* gate = g.gate.data<T>();
    const T* up = g.up.data<T>();
    const T* dy = g.dy.data<T>();
    on_unary(act, [&](auto fn) {
      each<kWidth>(s, g.dy.numel(), aligned_for<kWidth>(dgate, dup, gate, up, dy),
                   GatedBackward<T, decltype(fn)>{dgate, dup, gate, up, dy});
    });
  });
}

}  // namespace gradwire::cuda
