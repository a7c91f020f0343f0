#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/elementwise/broadcast.h"
#include "core/ops/elementwise/elementwise_kernels.h"

namespace gradwire::cuda {
namespace {

struct Sum {
  template <class C>
  __device__ static C of(C a, C b) {
    return a + b;
  }
};
struct Product {
  template <class C>
  __device__ static C of(C a, C b) {
    return a * b;
  }
};

// Broadcast as a kernel reads it: strides in elements, 0 along a dimension that is stretched. The
// innermost dimension is a whole number of packs, so that no pack crosses its end.
struct Strides {
  int rank = 0;
  std::int64_t size[Shape::kMaxRank] = {};
  std::int64_t a[Shape::kMaxRank] = {};
  std::int64_t b[Shape::kMaxRank] = {};
};

Strides strides_of(const Broadcast& plan) {
  Strides s;
  s.rank = plan.rank;
  std::int64_t stride_a = 1, stride_b = 1;
  for (int i = plan.rank; i-- > 0;) {
    const Broadcast::Dim& d = plan.dims[static_cast<std::size_t>(i)];
    s.size[i] = d.size;
    s.a[i] = d.in_a ? stride_a : 0;
    s.b[i] = d.in_b ? stride_b : 0;
    if (d.in_a) stride_a *= d.size;
    if (d.in_b) stride_b *= d.size;
  }
  return s;
}

template <int kWidth, class T>
__device__ Pack<T, kWidth> load_or_repeat(const T* from, bool repeat) {
  if (!repeat) return load_pack<kWidth>(from);
  Pack<T, kWidth> p;
#pragma unroll
  for (int k = 0; k < kWidth; ++k)
    p.v[k] = *from;
  return p;
}

template <class T, class Op>
struct Binary {
  T* y;
  const T* a;
  const T* b;
  Strides strides;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    std::int64_t rest = i, from_a = 0, from_b = 0;
    for (int d = strides.rank; d-- > 0;) {
      const std::int64_t outer = d == 0 ? 0 : rest / strides.size[d];
      const std::int64_t index = rest - outer * strides.size[d];
      from_a += index * strides.a[d];
      from_b += index * strides.b[d];
      rest = outer;
    }
    const int inner = strides.rank - 1;
    Pack<T, kWidth> x =
        load_or_repeat<kWidth>(a + from_a, strides.rank == 0 || strides.a[inner] == 0);
    const Pack<T, kWidth> z =
        load_or_repeat<kWidth>(b + from_b, strides.rank == 0 || strides.b[inner] == 0);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      x.v[k] = static_cast<T>(Op::of(widen(x.v[k]), widen(z.v[k])));
    store_pack(y + i, x);
  }
};

template <class T>
void binary_as(Stream s, BinaryOp op, const Tensor& y, const Tensor& a, const Tensor& b,
               const Broadcast& plan) {
  constexpr int kWidth = kPackWidth<T>;
  T* to = y.data<T>();
  const T* left = a.data<T>();
  const T* right = b.data<T>();
  const bool packs = plan.inner().size % kWidth == 0 && aligned_for<kWidth>(to, left, right);
  const Strides strides = strides_of(plan);
  if (op == BinaryOp::kAdd) {
    each<kWidth>(s, y.numel(), packs, Binary<T, Sum>{to, left, right, strides});
  } else {
    each<kWidth>(s, y.numel(), packs, Binary<T, Product>{to, left, right, strides});
  }
}

}  // namespace

void binary(Stream s, BinaryOp op, const Tensor& y, const Tensor& a, const Tensor& b,
            const Broadcast& plan) {
  on_float(y.dtype(), [&](auto element) {
    binary_as<typename decltype(element)::type>(s, op, y, a, b, plan);
  });
}

}  // namespace gradwire::cuda
