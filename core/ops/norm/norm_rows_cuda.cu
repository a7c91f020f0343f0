#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/dispatch.h"
#include "core/ops/norm/norm_rows_cuda.h"

namespace gradwire::cuda {
namespace {

// A row's kLanes threads, a warp or the block, hold kPacks packs each.
template <class T, int kLanes, int kPacks>
struct Row {
  using C = Compute<T>;
  static constexpr int kWidth = kPackWidth<T>;
  static constexpr int kTeams = kBlock / kLanes;  // rows of a block at a time

  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kLanes; }
  __device__ static int team() { return static_cast<int>(threadIdx.x) / kLanes; }
  // The first element of pack k.
  __device__ static std::int64_t at(int k) { return (k * kLanes + lane()) * kWidth; }

  Pack<T, kWidth> pack[kPacks];

  // Beyond the row's end there are zeros.
  __device__ void load(const T* row, std::int64_t width) {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      pack[k] = Pack<T, kWidth>{};
      if (at(k) < width) pack[k] = load_pack<kWidth>(row + at(k));
    }
  }

  // The same in every thread of the row.
  __device__ static C sum(C x) {
    if constexpr (kLanes == kBlock) {
      return block_reduce(x, Plus{});
    } else {
#pragma unroll
      for (int offset = kWarp / 2; offset > 0; offset /= 2)
        x += __shfl_xor_sync(0xFFFFFFFFu, x, offset);
      return x;
    }
  }
};

__device__ float square_root(float x) {
  return sqrtf(x);
}
__device__ double square_root(double x) {
  return ::sqrt(x);
}

template <class T, int kLanes, int kPacks>
__global__ void __launch_bounds__(kBlock) forward_kernel(NormForward a, std::int64_t rows) {
  using R = Row<T, kLanes, kPacks>;
  using C = Compute<T>;
  constexpr int kWidth = R::kWidth;
  const C* weight = static_cast<const C*>(a.weight);
  const C* bias = static_cast<const C*>(a.bias);
  const C n = static_cast<C>(a.width);
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * R::kTeams;
  for (std::int64_t r = static_cast<std::int64_t>(blockIdx.x) * R::kTeams + R::team(); r < rows;
       r += step) {
    R x;
    x.load(static_cast<const T*>(a.x) + r * a.width, a.width);
    C mean = 0;
    if (a.mean != nullptr) {
#pragma unroll
      for (int k = 0; k < kPacks; ++k) {
#pragma unroll
        for (int e = 0; e < kWidth; ++e)
          mean += widen(x.pack[k].v[e]);
      }
      mean = R::sum(mean) / n;
    }
    C spread = 0;
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      if (R::at(k) >= a.width) continue;
#pragma unroll
      for (int e = 0; e < kWidth; ++e) {
        const C off = widen(x.pack[k].v[e]) - mean;
        spread += off * off;
      }
    }
    const C rstd = C(1) / square_root(R::sum(spread) / n + static_cast<C>(a.eps));
    if (R::lane() == 0) {
      if (a.mean != nullptr) static_cast<C*>(a.mean)[r] = mean;
      static_cast<C*>(a.rstd)[r] = rstd;
    }
    T* y = static_cast<T*>(a.y) + r * a.width;
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
      if (R::at(k) >= a.width) continue;
      const Pack<C, kWidth> w = load_pack<kWidth>(weight + R::at(k));
      Pack<C, kWidth> b{};
      if (bias != nullptr) b = load_pack<kWidth>(bias + R::at(k));
      Pack<T, kWidth> out;
#pragma unroll
      for (int e = 0; e < kWidth; ++e)
        out.v[e] = static_cast<T>((widen(x.pack[k].v[e]) - mean) * rstd * w.v[e] + b.v[e]);
      store_pack(y + R::at(k), out);
    }
  }
}

// Ranges of `piece` rows, a block each; sums [chunks, width], or null.
template <class C>
struct Ranges {
  C* dweights;
  C* dbiases;
  std::int64_t rows, piece, chunks;
};

// out[column] = what the block's rows have summed for it, added in order; every thread of the block
// calls it.
template <class T, int kLanes, int kPacks>
__device__ void put_sums(Compute<T>* out, std::int64_t width,
                         const Compute<T> (&sums)[kPacks][kPackWidth<T>]) {
  using R = Row<T, kLanes, kPacks>;
  constexpr int kWidth = R::kWidth, kColumns = kLanes * kWidth;  // of one pack of every lane
  if constexpr (R::kTeams == 1) {
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e)
        if (R::at(k) < width) out[R::at(k) + e] = sums[k][e];
    }
  } else {
    __shared__ Compute<T> of_team[R::kTeams * kColumns];
    static_assert(kColumns <= kBlock);
    const int column = static_cast<int>(threadIdx.x);
#pragma unroll
    for (int k = 0; k < kPacks; ++k) {
#pragma unroll
      for (int e = 0; e < kWidth; ++e)
        of_team[R::team() * kColumns + R::lane() * kWidth + e] = sums[k][e];
      __syncthreads();
      if (column < kColumns && k * kColumns + column < width) {
        Compute<T> sum = 0;
#pragma unroll
        for (int t = 0; t < R::kTeams; ++t)
          sum += of_team[t * kColumns + column];
        out[k * kColumns + column] = sum;
      }
      __syncthreads();  // before the next pack overwrites it
    }
  }
}

// With g = dy w and h = (x - mean) rstd: dx = rstd (g - mean(g) - h mean(g h)), where rmsnorm has
// no mean(g); dw = the sum of dy h over rows, db that of dy.
template <class T, int kLanes, int kPacks, bool kIsLayer>
__global__ void __launch_bounds__(kBlock)
    backward_kernel(NormBackward a, Ranges<Compute<T>> ranges) {
  using R = Row<T, kLanes, kPacks>;
  using C = Compute<T>;
  constexpr int kWidth = R::kWidth;
  const C* weight = static_cast<const C*>(a.weight);
  const C n = static_cast<C>(a.width);
  for (std::int64_t chunk = blockIdx.x; chunk < ranges.chunks; chunk += gridDim.x) {
    C dw[kPacks][kWidth] = {}, db[kPacks][kWidth] = {};
    const std::int64_t first = chunk * ranges.piece;
    const std::int64_t end =
        first + ranges.piece < ranges.rows ? first + ranges.piece : ranges.rows;
    for (std::int64_t r = first + R::team(); r < end; r += R::kTeams) {
      R x, dy;
      x.load(static_cast<const T*>(a.x) + r * a.width, a.width);
      dy.load(static_cast<const T*>(a.dy) + r * a.width, a.width);
      const C mean = kIsLayer ? static_cast<const C*>(a.mean)[r] : C(0);
      const C rstd = static_cast<const C*>(a.rstd)[r];
      C sum_g = 0, sum_gh = 0;
#pragma unroll
      for (int k = 0; k < kPacks; ++k) {
        if (R::at(k) >= a.width) continue;
        const Pack<C, kWidth> w = load_pack<kWidth>(weight + R::at(k));
#pragma unroll
        for (int e = 0; e < kWidth; ++e) {
          const C d = widen(dy.pack[k].v[e]), off = widen(x.pack[k].v[e]) - mean;
          sum_g += d * w.v[e];
          sum_gh += d * w.v[e] * off;
          dw[k][e] += d * (off * rstd);
          if (kIsLayer) db[k][e] += d;
        }
      }
      if (a.dx == nullptr) continue;
      const C mean_g = kIsLayer ? R::sum(sum_g) / n : C(0);
      const C slope = R::sum(sum_gh) * rstd * rstd / n;  // of mean(g h) h in x - mean
      T* dx = static_cast<T*>(a.dx) + r * a.width;
#pragma unroll
      for (int k = 0; k < kPacks; ++k) {
        if (R::at(k) >= a.width) continue;
        const Pack<C, kWidth> w = load_pack<kWidth>(weight + R::at(k));
        Pack<T, kWidth> out;
#pragma unroll
        for (int e = 0; e < kWidth; ++e) {
          const C g = widen(dy.pack[k].v[e]) * w.v[e];
          out.v[e] = static_cast<T>(rstd * (g - mean_g - (widen(x.pack[k].v[e]) - mean) * slope));
        }
        store_pack(dx + R::at(k), out);
      }
    }
    if (ranges.dweights != nullptr) {
      put_sums<T, kLanes, kPacks>(ranges.dweights + chunk * a.width, a.width, dw);
    }
    if (kIsLayer && ranges.dbiases != nullptr) {
      put_sums<T, kLanes, kPacks>(ranges.dbiases + chunk * a.width, a.width, db);
    }
  }
}

template <int kLanes, int kPacks>
struct Split {
  static constexpr int lanes = kLanes, packs = kPacks;
};

// Calls f with the smallest Split that holds a row. False if none does.
template <class F>
bool on_split(std::int64_t packs, const F& f) {
  if (packs <= 32) return f(Split<kWarp, 1>{}), true;
  if (packs <= 64) return f(Split<kWarp, 2>{}), true;
  if (packs <= 96) return f(Split<kWarp, 3>{}), true;
  if (packs <= 128) return f(Split<kWarp, 4>{}), true;
  if (packs <= 256) return f(Split<kBlock, 1>{}), true;
  if (packs <= 512) return f(Split<kBlock, 2>{}), true;
  if (packs <= 1024) return f(Split<kBlock, 4>{}), true;
  return false;
}

}  // namespace

bool norm_rows_forward(Stream s, DType type, const NormForward& a, std::int64_t rows) {
  return on_float(type, [&](auto element) {
    using T = typename decltype(element)::type;
    using C = Compute<T>;
    constexpr int kWidth = kPackWidth<T>;
    if (a.width % kWidth != 0 ||
        !aligned_for<kWidth>(static_cast<const T*>(a.x), static_cast<const T*>(a.y),
                             static_cast<const C*>(a.weight), static_cast<const C*>(a.bias))) {
      return false;
    }
    return on_split(a.width / kWidth, [&]<class S>(S) {
      launch(s, blocks_for(rows, kBlock / S::lanes), forward_kernel<T, S::lanes, S::packs>, a,
             rows);
    });
  });
}

bool norm_rows_backward(Stream s, DType type, const NormBackward& a, std::int64_t rows,
                        const Tensor& dweights, const Tensor& dbiases) {
  return on_float(type, [&](auto element) {
    using T = typename decltype(element)::type;
    using C = Compute<T>;
    constexpr int kWidth = kPackWidth<T>;
    if (a.width % kWidth != 0 ||
        !aligned_for<kWidth>(static_cast<const T*>(a.x), static_cast<const T*>(a.dy),
                             static_cast<const T*>(a.dx), static_cast<const C*>(a.weight))) {
      return false;
    }
    const std::int64_t chunks = norm_chunks(rows);
    const auto sums = [](const Tensor& t) { return t ? t.data<C>() : nullptr; };
    const Ranges<C> ranges{sums(dweights), sums(dbiases), rows,
                           chunks == 0 ? 0 : (rows + chunks - 1) / chunks, chunks};
    return on_split(a.width / kWidth, [&]<class S>(S) {
      launch(s, blocks_for(chunks, 1),
             a.mean != nullptr ? backward_kernel<T, S::lanes, S::packs, true>
                               : backward_kernel<T, S::lanes, S::packs, false>,
             a, ranges);
    });
  });
}

}  // namespace gradwire::cuda
