#include "core/cuda/pack.h"
#include "optim/onebit_lamb_kernels.h"

namespace gradwire::cuda {
namespace {

struct Dense {
  LambMath update;
  LambArrays a;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const float grad = a.grad == nullptr ? 0.0F : a.grad[i];
    a.work[i] = update.dense(a.value[i], grad, a.m[i], a.v[i]);
  }
};

struct Frozen {
  LambMath update;
  LambArrays a;
  float* largest;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    float ratio = 0.0F;
    a.work[i] = update.frozen(a.work[i], a.m[i], a.v[i], a.fresh[i], ratio);
    // The bits of floats that are not negative are ordered as they are. The plain read spares
    // nearly all elements the atomic operation.
    if (ratio > *static_cast<volatile float*>(largest))
      atomicMax(reinterpret_cast<int*>(largest), __float_as_int(ratio));
  }
};

}  // namespace

void lamb_dense(Stream s, const LambMath& math, const LambArrays& a, std::int64_t n) {
  each<1>(s, n, true, Dense{math, a});
}

void lamb_frozen(Stream s, const LambMath& math, const LambArrays& a, float* largest,
                 std::int64_t n) {
  each<1>(s, n, true, Frozen{math, a, largest});
}

}  // namespace gradwire::cuda
