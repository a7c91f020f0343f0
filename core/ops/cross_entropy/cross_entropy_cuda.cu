#include <limits>

#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/dispatch.h"
#include "core/math.h"
#include "core/ops/cross_entropy/cross_entropy_kernels.h"

namespace gradwire::cuda {
namespace {

// The formulas of cross_entropy_simd.cpp, a block per row, which it reads once: a thread's sum of
// exponentials is scaled down as it meets larger logits (Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018).
template <class T, int kWidth>
__global__ void __launch_bounds__(kBlock) forward_kernel(CrossEntropyRows a, std::int64_t rows) {
  using C = Compute<T>;
  const C smoothing = static_cast<C>(a.smoothing);
  C* log_sums = static_cast<C*>(a.log_sum);
  C* losses = static_cast<C*>(a.losses);
  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const std::int32_t target = a.targets[r];
    if (target == a.ignore_index) {
      if (threadIdx.x == 0) log_sums[r] = losses[r] = C(0);
      continue;
    }
    const T* x = static_cast<const T*>(a.logits) + r * a.width;
    const C hit = widen(x[target]);
    C most = std::numeric_limits<C>::lowest();  // not -inf, from which -inf could not be taken
    C exps = 0, sum = 0;                        // of e^(x - most), and of x - hit
    each_pack<kWidth>(x, a.width, [&](std::int64_t, const Pack<T, kWidth>& p) {
      C more = most;
#pragma unroll
      for (int k = 0; k < kWidth; ++k)
        more = Larger{}(widen(p.v[k]), more);
      if (more > most) exps *= math::exp(most - more);
      most = more;
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        exps += math::exp(widen(p.v[k]) - most);
        sum += widen(p.v[k]) - hit;
      }
    });
    const C own = most;
    most = block_reduce(own, Larger{});
    exps = block_reduce(exps * math::exp(own - most), Plus{});
    if (smoothing != C(0)) sum = block_reduce(sum, Plus{});
    if (threadIdx.x == 0) {
      const C log_sum = math::log(exps);
      C loss = log_sum - (hit - most);
      if (smoothing != C(0)) loss -= smoothing * sum / static_cast<C>(a.width);
      log_sums[r] = most + log_sum;
      losses[r] = loss;
    }
  }
}

template <class T, int kWidth>
__global__ void __launch_bounds__(kBlock) backward_kernel(CrossEntropyRows a, std::int64_t rows) {
  using C = Compute<T>;
  const C scale = static_cast<C>(a.scale);
  const C uniform = static_cast<C>(a.scale * a.smoothing / static_cast<double>(a.width));
  const C hit = static_cast<C>(a.scale * (1.0 - a.smoothing));
  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const T* x = static_cast<const T*>(a.logits) + r * a.width;
    T* dx = static_cast<T*>(a.dlogits) + r * a.width;
    const std::int32_t target = a.targets[r];
    const bool counts = target != a.ignore_index;
    const C log_sum = static_cast<const C*>(a.log_sum)[r];
    each_pack<kWidth>(x, a.width, [&](std::int64_t i, Pack<T, kWidth> p) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k) {
        C d = scale * math::exp(widen(p.v[k]) - log_sum) - uniform;
        if (i + k == target) d -= hit;
        p.v[k] = static_cast<T>(counts ? d : C(0));
      }
      store_pack(dx + i, p);
    });
  }
}

// Calls f(type, pack width) with the widest packs that the rows allow.
template <class F>
void on_rows(DType type, const CrossEntropyRows& a, const F& f) {
  on_float(type, [&](auto element) {
    using T = typename decltype(element)::type;
    constexpr int kWidth = kPackWidth<T>;
    const bool packs =
        a.width % kWidth == 0 &&
        aligned_for<kWidth>(static_cast<const T*>(a.logits), static_cast<const T*>(a.dlogits));
    if (packs) {
      f(element, std::integral_constant<int, kWidth>{});
    } else {
      f(element, std::integral_constant<int, 1>{});
    }
  });
}

}  // namespace

void cross_entropy(Stream s, DType type, const CrossEntropyRows& a, std::int64_t rows) {
  on_rows(type, a, [&](auto element, auto width) {
    launch(s, blocks_for(rows, 1), forward_kernel<typename decltype(element)::type, width()>, a,
           rows);
  });
}

void cross_entropy_grad(Stream s, DType type, const CrossEntropyRows& a, std::int64_t rows) {
  on_rows(type, a, [&](auto element, auto width) {
    launch(s, blocks_for(rows, 1), backward_kernel<typename decltype(element)::type, width()>, a,
           rows);
  });
}

}  // namespace gradwire::cuda
