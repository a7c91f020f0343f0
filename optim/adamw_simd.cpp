#include "optim/adamw_kernels.h"

namespace gradwire::GW_ISA {
namespace {

void step(const AdamWMath& math, const AdamWArrays& a, std::int64_t begin, std::int64_t end) {
  const AdamWMath update = math;  // a copy, so that stores to floats cannot be thought to change it
  float* __restrict value = a.value;
  float* __restrict m = a.m;
  float* __restrict v = a.v;
  const float* __restrict grad = a.grad;
  if (grad == nullptr) {
    for (std::int64_t i = begin; i < end; ++i)
      update(value[i], 0.0F, m[i], v[i]);
    return;
  }
  for (std::int64_t i = begin; i < end; ++i)
    update(value[i], grad[i], m[i], v[i]);
}

}  // namespace

const AdamWKernels adamw_kernels{&step};

}  // namespace gradwire::GW_ISA
