#include "optim/sgd_kernels.h"

namespace gradwire::GW_ISA {
namespace {

template <class GradAt>
void step_with(const SgdMath& math, const SgdArrays& a, std::int64_t begin, std::int64_t end,
               GradAt grad_at) {
  const SgdMath update = math;  // a copy, so that stores to floats cannot be thought to change it
  float* __restrict value = a.value;
  float* __restrict m = a.m;
  if (m == nullptr) {
    for (std::int64_t i = begin; i < end; ++i)
      update(value[i], grad_at(i));
    return;
  }
  for (std::int64_t i = begin; i < end; ++i)
    update(value[i], grad_at(i), m[i]);
}

void step(const SgdMath& math, const SgdArrays& a, std::int64_t begin, std::int64_t end) {
  if (a.grad == nullptr) {
    return step_with(math, a, begin, end, [](std::int64_t) { return 0.0F; });
  }
  const float* __restrict grad = a.grad;
  step_with(math, a, begin, end, [grad](std::int64_t i) { return grad[i]; });
}

}  // namespace

const SgdKernels sgd_kernels{&step};

}  // namespace gradwire::GW_ISA
