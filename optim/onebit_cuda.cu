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
    const Pack<float, kWidth> rate = load_pack<kWidth>(a.rate + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      update(value.v[k], m.v[k], rate.v[k]);
    store_pack(a.value + i, value);
  }
};

struct MakeRate {
  FrozenRate rate_of;
  const float* v;
  float* rate;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const Pack<float, kWidth> from = load_pack<kWidth>(v + i);
    Pack<float, kWidth> to;
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      to.v[k] = rate_of(from.v[k]);
    store_pack(rate + i, to);
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

void frozen_rates(Stream s, const FrozenRate& math, const float* v, float* rate, std::int64_t n) {
  constexpr int kWidth = kPackWidth<float>;
  each<kWidth>(s, n, aligned_for<kWidth>(v, rate), MakeRate{math, v, rate});
}

void frozen_step(Stream s, const FrozenMath& math, const FrozenArrays& a, std::int64_t n) {
  constexpr int kWidth = kPackWidth<float>;
  each<kWidth>(s, n, aligned_for<kWidth>(a.value, a.m, a.rate), FrozenUpdate{math, a});
}

void mark_live(Stream s, const LiveArrays& a) {
  each<1>(s, (a.n + 7) / 8, true, LiveByte{a});
}

}  // namespace gradwire::cuda
