#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/dropout/dropout_kernels.h"
#include "core/ops/dropout/dropout_math.h"
#include "core/tensor.h"

namespace gradwire::cuda {
namespace {

// Word i % 4. Chosen by conditions: an index that is no constant would put the block into memory.
__device__ __forceinline__ std::uint32_t word_of(const PhiloxBlock& block, std::uint64_t i) {
  const std::uint32_t even = (i & 2) != 0 ? block.word[2] : block.word[0];
  const std::uint32_t odd = (i & 2) != 0 ? block.word[3] : block.word[1];
  return (i & 1) != 0 ? odd : even;
}

// `mask.first` and the first element of a pack of four and more are multiples of four, that of a
// pack of two is even: a pack's words lie in as few blocks as they can.
template <class T>
struct Masked {
  T* y;
  const T* x;
  DropoutMask mask;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<T, kWidth> p = load_pack<kWidth>(x + i);
    const Compute<T> scale = static_cast<Compute<T>>(mask.scale);
    const std::uint64_t first = mask.first + static_cast<std::uint64_t>(i);
    constexpr int kBlockWords = 4;  // of random numbers, made together
    PhiloxBlock block;
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      if (k % kBlockWords == 0) block = philox(mask.seed, (first + k) / kBlockWords);
      const bool dropped = is_dropped(word_of(block, first + k), mask.threshold);
      p.v[k] = static_cast<T>(dropped ? Compute<T>(0) : widen(p.v[k]) * scale);
    }
    store_pack(y + i, p);
  }
};

}  // namespace

void dropout(Stream s, const Tensor& y, const Tensor& x, const DropoutMask& mask) {
  on_float(y.dtype(), [&](auto element) {
    using T = typename decltype(element)::type;
    constexpr int kWidth = kPackWidth<T>;
    T* to = y.data<T>();
    const T* from = x.data<T>();
    each<kWidth>(s, y.numel(), aligned_for<kWidth>(to, from), Masked<T>{to, from, mask});
  });
}

}  // namespace gradwire::cuda
