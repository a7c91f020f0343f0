#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/dropout/dropout_kernels.h"
#include "core/ops/dropout/dropout_math.h"
#include "core/tensor.h"

namespace gradwire::cuda {
namespace {

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
#pragma unroll
    for (int k = 0; k < kWidth; ++k) {
      const std::uint32_t word = random_word(mask.seed, first + static_cast<std::uint64_t>(k));
      const bool dropped = is_dropped(word, mask.threshold);
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
