#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/dispatch.h"
#include "core/math.h"
#include "core/ops/softmax/softmax_kernels.h"

namespace gradwire::cuda {
namespace {

// The formulas of softmax_simd.cpp, a block per row.
template <class T>
struct Rows {
  T* out;
  const T* y;   // what is read: x forward, the output backward
  const T* dy;  // backward only
  std::int64_t rows, width;
};

template <class T, SoftmaxKind kKind, int kWidth>
__global__ void __launch_bounds__(kBlock) forward_kernel(Rows<T> a) {
  using C = Compute<T>;
  for (std::int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const T* x = a.y + r * a.width;
    T* out = a.out + r * a.width;
    C most = -static_cast<C>(INFINITY);
    each_pack<kWidth>(x, a.width, [&](std::int64_t, const Pack<T, kWidth>& p) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k)
        most = Larger{}(widen(p.v[k]), most);
    });
    most = block_reduce(most, Larger{});
    C sum = 0;
    each_pack<kWidth>(x, a.width, [&](std::int64_t, const Pack<T, kWidth>& p) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k)
        sum += math::exp(widen(p.v[k]) - most);
    });
    sum = block_reduce(sum, Plus{});
    const C last = kKind == SoftmaxKind::kLog ? math::log(sum) : C(1) / sum;
    each_pack<kWidth>(x, a.width, [&](std::int64_t i, Pack<T, kWidth> p) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        const C below = widen(p.v[k]) - most;
        p.v[k] =
            static_cast<T>(kKind == SoftmaxKind::kLog ? below - last : math::exp(below) * last);
      }
      store_pack(out + i, p);
    });
  }
}

// dx = y (dy - <dy, y>), and for the logarithm dx = dy - e^y sum(dy)
template <class T, SoftmaxKind kKind, int kWidth>
__global__ void __launch_bounds__(kBlock) backward_kernel(Rows<T> a) {
  using C = Compute<T>;
  for (std::int64_t r = blockIdx.x; r < a.rows; r += gridDim.x) {
    const T* y = a.y + r * a.width;
    const T* dy = a.dy + r * a.width;
    T* dx = a.out + r * a.width;
    C sum = 0;
    each_pack<kWidth>(y, a.width, [&](std::int64_t i, const Pack<T, kWidth>& p) {
      const Pack<T, kWidth> d = load_pack<kWidth>(dy + i);
#pragma unroll
      for (int k = 0; k < kWidth; ++k)
        sum += kKind == SoftmaxKind::kLog ? widen(d.v[k]) : widen(d.v[k]) * widen(p.v[k]);
    });
    sum = block_reduce(sum, Plus{});
    each_pack<kWidth>(y, a.width, [&](std::int64_t i, Pack<T, kWidth> p) {
      const Pack<T, kWidth> d = load_pack<kWidth>(dy + i);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        const C at = widen(p.v[k]), slope = widen(d.v[k]);
        p.v[k] = static_cast<T>(kKind == SoftmaxKind::kLog ? slope - math::exp(at) * sum
                                                           : at * (slope - sum));
      }
      store_pack(dx + i, p);
    });
  }
}

template <class T>
bool packs_fit(const Rows<T>& a) {
  return a.width % kPackWidth<T> == 0 && aligned_for<kPackWidth<T>>(a.out, a.y, a.dy);
}

template <SoftmaxKind kKind, class T>
void forward(Stream s, const Rows<T>& a) {
  launch(s, blocks_for(a.rows, 1),
         packs_fit(a) ? forward_kernel<T, kKind, kPackWidth<T>> : forward_kernel<T, kKind, 1>, a);
}
template <SoftmaxKind kKind, class T>
void backward(Stream s, const Rows<T>& a) {
  launch(s, blocks_for(a.rows, 1),
         packs_fit(a) ? backward_kernel<T, kKind, kPackWidth<T>> : backward_kernel<T, kKind, 1>, a);
}

}  // namespace

void softmax(Stream s, SoftmaxKind kind, const Tensor& y, const Tensor& x) {
  if (x.numel() == 0) return;
  on_float(x.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    const Rows<T> a{y.data<T>(), x.data<T>(), nullptr, x.numel() / x.dim(-1), x.dim(-1)};
    if (kind == SoftmaxKind::kLog) return forward<SoftmaxKind::kLog>(s, a);
    forward<SoftmaxKind::kPlain>(s, a);
  });
}

void softmax_grad(Stream s, SoftmaxKind kind, const Tensor& dx, const Tensor& y, const Tensor& dy) {
  if (y.numel() == 0) return;
  on_float(y.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    const Rows<T> a{dx.data<T>(), y.data<T>(), dy.data<T>(), y.numel() / y.dim(-1), y.dim(-1)};
    if (kind == SoftmaxKind::kLog) return backward<SoftmaxKind::kLog>(s, a);
    backward<SoftmaxKind::kPlain>(s, a);
  });
}

}  // namespace gradwire::cuda
