#include <algorithm>

#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/dispatch.h"
#include "core/ops/norm/norm_kernels.h"
#include "core/ops/norm/norm_rows_cuda.h"

namespace gradwire::cuda {
namespace {

__device__ float square_root(float x) {
  return sqrtf(x);
}
__device__ double square_root(double x) {
  return ::sqrt(x);
}

// Sum over the row of term(x).
template <int kWidth, class T, class Term>
__device__ Compute<T> row_sum(const T* x, std::int64_t n, Term term) {
  Compute<T> sum = 0;
  each_pack<kWidth>(x, n, [&](std::int64_t, const Pack<T, kWidth>& p) {
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      sum += term(widen(p.v[k]));
  });
  return block_reduce(sum, Plus{});
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kBlock) forward_kernel(NormForward a, std::int64_t rows) {
  using C = Compute<T>;
  const C* weight = static_cast<const C*>(a.weight);
  const C* bias = static_cast<const C*>(a.bias);
  const C n = static_cast<C>(a.width);
  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const T* x = static_cast<const T*>(a.x) + r * a.width;
    T* y = static_cast<T*>(a.y) + r * a.width;
    C mean = 0;
    if (a.mean != nullptr) mean = row_sum<kWidth>(x, a.width, [](C v) { return v; }) / n;
    const C spread = row_sum<kWidth>(x, a.width, [=](C v) { return (v - mean) * (v - mean); });
    const C rstd = C(1) / square_root(spread / n + static_cast<C>(a.eps));
    if (threadIdx.x == 0) {
      if (a.mean != nullptr) static_cast<C*>(a.mean)[r] = mean;
      static_cast<C*>(a.rstd)[r] = rstd;
    }
    each_pack<kWidth>(x, a.width, [&](std::int64_t i, Pack<T, kWidth> p) {
      const Pack<C, kWidth> w = load_pack<kWidth>(weight + i);
      Pack<C, kWidth> b{};
      if (bias != nullptr) b = load_pack<kWidth>(bias + i);
#pragma unroll
      for (int k = 0; k < kWidth; ++k)
        p.v[k] = static_cast<T>((widen(p.v[k]) - mean) * rstd * w.v[k] + b.v[k]);
      store_pack(y + i, p);
    });
  }
}

// With g = dy w and h = (x - mean) rstd: dx = rstd (g - mean(g) - h mean(g h)), where rmsnorm has
// no mean(g).
template <class T, int kWidth>
__global__ void __launch_bounds__(kBlock) backward_kernel(NormBackward a, std::int64_t rows) {
  using C = Compute<T>;
  const C* weight = static_cast<const C*>(a.weight);
  const C n = static_cast<C>(a.width);
  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const T* x = static_cast<const T*>(a.x) + r * a.width;
    const T* dy = static_cast<const T*>(a.dy) + r * a.width;
    T* dx = static_cast<T*>(a.dx) + r * a.width;
    const C mean = a.mean != nullptr ? static_cast<const C*>(a.mean)[r] : C(0);
    const C rstd = static_cast<const C*>(a.rstd)[r];
    C sum_g = 0, sum_gh = 0;
    each_pack<kWidth>(x, a.width, [&](std::int64_t i, const Pack<T, kWidth>& p) {
      const Pack<T, kWidth> d = load_pack<kWidth>(dy + i);
      const Pack<C, kWidth> w = load_pack<kWidth>(weight + i);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        const C g = widen(d.v[k]) * w.v[k];
        sum_g += g;
        sum_gh += g * (widen(p.v[k]) - mean);
      }
    });
    C mean_g = 0;
    if (a.mean != nullptr) mean_g = block_reduce(sum_g, Plus{}) / n;
    const C slope = block_reduce(sum_gh, Plus{}) * rstd * rstd / n;  // of mean(g h) h in x - mean
    each_pack<kWidth>(x, a.width, [&](std::int64_t i, Pack<T, kWidth> p) {
      const Pack<T, kWidth> d = load_pack<kWidth>(dy + i);
      const Pack<C, kWidth> w = load_pack<kWidth>(weight + i);
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        const C g = widen(d.v[k]) * w.v[k];
        p.v[k] = static_cast<T>(rstd * (g - mean_g - (widen(p.v[k]) - mean) * slope));
      }
      store_pack(dx + i, p);
    });
  }
}

template <class T>
struct WeightTerm {
  NormBackward a;
  __device__ Compute<T> operator()(std::int64_t row, std::int64_t column) const {
    using C = Compute<T>;
    const std::int64_t i = row * a.width + column;
    const C mean = a.mean != nullptr ? static_cast<const C*>(a.mean)[row] : C(0);
    const C h = (widen(static_cast<const T*>(a.x)[i]) - mean) * static_cast<const C*>(a.rstd)[row];
    return widen(static_cast<const T*>(a.dy)[i]) * h;
  }
};

template <class T>
struct BiasTerm {
  NormBackward a;
  __device__ Compute<T> operator()(std::int64_t row, std::int64_t column) const {
    return widen(static_cast<const T*>(a.dy)[row * a.width + column]);
  }
};

// Sums over ranges of rows, one for each row of `sums`.
template <class Term>
void sums_of_ranges(Stream s, const Tensor& sums, std::int64_t rows, std::int64_t width,
                    const Term& term) {
  if (!sums || sums.numel() == 0) return;
  using C = decltype(term(0, 0));
  column_partial_sums(s, sums.data<C>(), cut_columns(1, rows, width, sums.dim(0)), term);
}

}  // namespace

std::int64_t norm_chunks(std::int64_t rows) {
  constexpr std::int64_t kFewestRows = 16, kMostChunks = 512;
  return std::min(kMostChunks, (rows + kFewestRows - 1) / kFewestRows);
}

void norm_forward(Stream s, DType type, const NormForward& a, std::int64_t rows) {
  if (norm_rows_forward(s, type, a, rows)) return;
  on_float(type, [&](auto element) {
    using T = typename decltype(element)::type;
    using C = Compute<T>;
    constexpr int kWidth = kPackWidth<T, C>;
    const bool packs =
        a.width % kWidth == 0 &&
        aligned_for<kWidth>(static_cast<const T*>(a.x), static_cast<const T*>(a.y),
                            static_cast<const C*>(a.weight), static_cast<const C*>(a.bias));
    launch(s, blocks_for(rows, 1), packs ? forward_kernel<T, kWidth> : forward_kernel<T, 1>, a,
           rows);
  });
}

void norm_backward(Stream s, DType type, const NormBackward& a, std::int64_t rows,
                   const Tensor& dweights, const Tensor& dbiases) {
  if (norm_rows_backward(s, type, a, rows, dweights, dbiases)) return;
  on_float(type, [&](auto element) {
    using T = typename decltype(element)::type;
    using C = Compute<T>;
    constexpr int kWidth = kPackWidth<T, C>;
    const bool packs =
        a.width % kWidth == 0 &&
        aligned_for<kWidth>(static_cast<const T*>(a.x), static_cast<const T*>(a.dy),
                            static_cast<const T*>(a.dx), static_cast<const C*>(a.weight));
    if (a.dx != nullptr) {
      launch(s, blocks_for(rows, 1), packs ? backward_kernel<T, kWidth> : backward_kernel<T, 1>, a,
             rows);
    }
    sums_of_ranges(s, dweights, rows, a.width, WeightTerm<T>{a});
    sums_of_ranges(s, dbiases, rows, a.width, BiasTerm<T>{a});
  });
}

}  // namespace gradwire::cuda
