#include "core/cuda/pack.h"
#include "optim/sgd_kernels.h"

namespace gradwire::cuda {
namespace {

struct SgdUpdate {
  SgdMath update;
  SgdArrays a;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    Pack<float, kWidth> value = load_pack<kWidth>(a.value + i);
    Pack<float, kWidth> grad{};
    if (a.grad != nullptr) grad = load_pack<kWidth>(a.grad + i);
    if (a.m == nullptr) {
#pragma unroll
      for (int k = 0; k < kWidth; ++k)
        update(value.v[k], grad.v[k]);
    } else {
      Pack<float, kWidth> m = load_pack<kWidth>(a.m + i);
#pragma unroll
      for (int k = 0; k < kWidth; ++k)
        update(value.v[k], grad.v[k], m.v[k]);
      store_pack(a.m + i, m);
    }
    store_pack(a.value + i, value);
  }
};

}  // namespace

void sgd_step(Stream s, const SgdMath& math, const SgdArrays& a, std::int64_t n) {
  constexpr int kWidth = kPackWidth<float>;
  each<kWidth>(s, n, aligned_for<kWidth>(a.value, a.grad, a.m), SgdUpdate{math, a});
}

}  // namespace gradwire::cuda
