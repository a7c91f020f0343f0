#include "core/cuda/pack.h"
#include "optim/adamw_kernels.h"

namespace gradwire::cuda {
namespace {

struct AdamWUpdate {
  AdamWMath update;
  AdamWArrays a;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<float, kWidth> value = load_pack<kWidth>(a.value + i);
    Pack<float, kWidth> m = load_pack<kWidth>(a.m + i);
    Pack<float, kWidth> v = load_pack<kWidth>(a.v + i);
    Pack<float, kWidth> grad{};
    if (a.grad != nullptr) grad = load_pack<kWidth>(a.grad + i);
#pragma unroll
    for (int k = 0; k < kWidth; ++k)
      update(value.v[k], grad.v[k], m.v[k], v.v[k]);
    store_pack(a.value + i, value);
    store_pack(a.m + i, m);
    store_pack(a.v + i, v);
  }
};

}  // namespace

void adamw_step(Stream s, const AdamWMath& math, const AdamWArrays& a, std::int64_t n) {
  constexpr int kWidth = kPackWidth<float>;
  each<kWidth>(s, n, aligned_for<kWidth>(a.value, a.grad, a.m, a.v), AdamWUpdate{math, a});
}

}  // namespace gradwire::cuda
