// Elementwise kernels: several neighbouring elements per thread, loaded and stored as one word of
// 16 bytes if every pointer is so aligned, one element at a time if not.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "core/bf16.h"
#include "core/cuda/launch.h"

namespace gradwire::cuda {

template <class T, int kWidth>
struct alignas(sizeof(T) * kWidth) Pack {
  T v[kWidth];
};

template <int kWidth, class T>
__device__ __forceinline__ Pack<T, kWidth> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, kWidth>*>(from);
}
template <int kWidth, class T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, kWidth>& pack) {
  *reinterpret_cast<Pack<T, kWidth>*>(to) = pack;
}

template <class T>
__device__ __forceinline__ Compute<T> widen(T x) {
  return static_cast<Compute<T>>(x);
}

// Elements per thread for kernels that touch these types.
template <class... T>
inline constexpr int kPackWidth = 16 / static_cast<int>(std::max({sizeof(T)...}));

// True if each pointer may be read as packs of kWidth. Null pointers may.
template <int kWidth, class... T>
bool aligned_for(T*... pointers) {
  return ((reinterpret_cast<std::uintptr_t>(pointers) % (sizeof(T) * kWidth) == 0) && ...);
}

// f.template at<W>(i) handles elements i .. i + W - 1.
template <int kWidth, class F>
__global__ void __launch_bounds__(kBlock) each_kernel(F f, std::int64_t n) {
  const std::int64_t thread = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x;
  const std::int64_t threads = static_cast<std::int64_t>(gridDim.x) * kBlock;
  const std::int64_t packs = n / kWidth;
  for (std::int64_t i = thread; i < packs; i += threads)
    f.template at<kWidth>(i * kWidth);
  const std::int64_t rest = packs * kWidth + thread;  // fewer than kWidth elements, one per thread
  if (kWidth > 1 && rest < n) f.template at<1>(rest);
}

// Runs f over n elements, kWidth at a time if `aligned`.
template <int kWidth, class F>
void each(Stream s, std::int64_t n, bool aligned, const F& f) {
  if (n == 0) return;
  if (aligned) {
    launch(s, blocks_for((n + kWidth - 1) / kWidth), each_kernel<kWidth, F>, f, n);
  } else {
    launch(s, blocks_for(n), each_kernel<1, F>, f, n);
  }
}

// A row of n elements, n a multiple of kWidth, shared by a block's threads: f(i, the pack from i).
template <int kWidth, class T, class F>
__device__ __forceinline__ void each_pack(const T* row, std::int64_t n, F f) {
  for (std::int64_t i = static_cast<int>(threadIdx.x) * kWidth; i < n; i += kBlock * kWidth)
    f(i, load_pack<kWidth>(row + i));
}

}  // namespace gradwire::cuda
