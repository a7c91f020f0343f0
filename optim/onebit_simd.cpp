#include "optim/onebit_kernels.h"

namespace gradwire::GW_ISA {
namespace {

void step(const FrozenMath& math, const FrozenArrays& a, std::int64_t begin, std::int64_t end) {
  const FrozenMath update = math;  // a copy, so that stores cannot be thought to change it
  float* __restrict value = a.value;
  const float* __restrict m = a.m;
  const float* __restrict v = a.v;
  for (std::int64_t i = begin; i < end; ++i)
    update(value[i], m[i], v[i]);
}

void mark_live(const LiveArrays& a, std::int64_t begin, std::int64_t end) {
  for (std::int64_t byte = begin; byte < end; ++byte) {
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
}

}  // namespace

const OnebitKernels onebit_kernels{&step, &mark_live};

}  // namespace gradwire::GW_ISA
