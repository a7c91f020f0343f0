#include "core/cuda/pack.h"
#include "optim/onebit_kernels.h"

namespace gradwire::cuda {
namespace {

struct FrozenUpdate {
  FrozenMath update;
  FrozenArrays a;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<float, kWidth> value = load_pack<kWidth>(a.value + i);
    const Pack<float, kWidth> m = load_pack<kWidth>(a.m + i);
    const Pack<float, kWidth> v = load_pack<kWidth>(a.v + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      update(value.v[k], m.v[k], v.v[k]);
    store_pack(a.value + i, value);
  }
};

struct LiveByte {
  LiveArrays a;
  template <int kWidth>
  __device__ void at(std::int64_t byte) const {
    unsigned bits = 0;
    for (std::int64_t i = 8 * byte; i < a.n && i < 8 * byte + 8; ++i) {
      if (a.v[i] != 0.0F) {
        bits |= 1U << (i % 8);
      } else {
        a.m[i] = 0.0F;
      }
    }
    a.live[byte] = static_cast<std::uint8_t>(bits);
  }
};

}  // namespace

void frozen_step(Stream s, const FrozenMath& math, const FrozenArrays& a, std::int64_t n) {
  constexpr int kWidth = kPackWidth<float>;
  each<kWidth>(s, n, aligned_for<kWidth>(a.value, a.m, a.v), FrozenUpdate{math, a});
}

void mark_live(Stream s, const LiveArrays& a) {
  each<1>(s, (a.n + 7) / 8, true, LiveByte{a});
}

}  // namespace gradwire::cuda
