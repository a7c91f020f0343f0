#include "core/cuda/pack.h"
#include "optim/zero_one_kernels.h"

namespace gradwire::cuda {
namespace {

struct Collect {
  ZeroOneMath update;
  ZeroOneArrays a;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    const float grad = a.grad == nullptr ? 0.0F : a.grad[i];
    update.collect(grad, a.m[i], a.u[i], a.v[i]);
  }
};

struct Local {
  Collect collect;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    collect.at<1>(i);
    const ZeroOneArrays& a = collect.a;
    a.value[i] = collect.update.place(a.anchor[i], a.u[i], a.v[i]);
  }
};

struct Settle {
  ZeroOneMath update;
  ZeroOneArrays a;
  template <int kWidth>
  __device__ void at(std::int64_t i) const {
    a.m[i] = update.agreed(a.u[i], a.v[i]);
    a.value[i] = update.place(a.anchor[i], a.u[i], a.v[i]);
  }
};

}  // namespace

void zero_one_collect(Stream s, const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t n) {
  each<1>(s, n, true, Collect{math, a});
}

void zero_one_local(Stream s, const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t n) {
  each<1>(s, n, true, Local{{math, a}});
}

void zero_one_settle(Stream s, const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t n) {
  each<1>(s, n, true, Settle{math, a});
}

}  // namespace gradwire::cuda
