#include "optim/onebit_lamb_kernels.h"

namespace gradwire::GW_ISA {
namespace {

void dense(const LambMath& math, const LambArrays& a, std::int64_t begin, std::int64_t end) {
  const LambMath update = math;  // a copy, so that stores cannot be thought to change it
  const float* __restrict value = a.value;
  const float* __restrict grad = a.grad;
  float* __restrict m = a.m;
  float* __restrict v = a.v;
  float* __restrict work = a.work;
  if (grad == nullptr) {
    for (std::int64_t i = begin; i < end; ++i)
      work[i] = update.dense(value[i], 0.0F, m[i], v[i]);
    return;
  }
  for (std::int64_t i = begin; i < end; ++i)
    work[i] = update.dense(value[i], grad[i], m[i], v[i]);
}

// One maximum per lane: a single one could not be vectorised without knowing that none is NaN.
float frozen(const LambMath& math, const LambArrays& a, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kLanes = 16;
  const LambMath update = math;
  const float* __restrict m = a.m;
  const float* __restrict v = a.v;
  float* __restrict fresh = a.fresh;
  float* __restrict work = a.work;
  float largest[kLanes] = {};
  std::int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    for (std::int64_t k = 0; k < kLanes; ++k) {
      float ratio = 0.0F;
      work[i + k] = update.frozen(work[i + k], m[i + k], v[i + k], fresh[i + k], ratio);
      largest[k] = largest[k] < ratio ? ratio : largest[k];
    }
  }
  for (; i < end; ++i) {
    float ratio = 0.0F;
    work[i] = update.frozen(work[i], m[i], v[i], fresh[i], ratio);
    largest[0] = largest[0] < ratio ? ratio : largest[0];
  }
  for (const float x : largest)
    largest[0] = largest[0] < x ? x : largest[0];
  return largest[0];
}

}  // namespace

const LambKernels lamb_kernels{&dense, &frozen};

}  // namespace gradwire::GW_ISA
