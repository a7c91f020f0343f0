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

void precondition(const PreconditionMath& math, const PreconditionArrays& a, std::int64_t begin,
                  std::int64_t end) {
  const PreconditionMath update = math;
  float* __restrict x = a.x;
  float* __restrict m = a.m;
  const float* __restrict v = a.v;
  for (std::int64_t i = begin; i < end; ++i)
    update(m[i], v[i], x[i]);
}

void follow(const FrozenMath& math, const FollowArrays& a, std::int64_t begin, std::int64_t end) {
  const float keep = math.keep, step_size = math.step_size;
  for (std::int64_t byte = begin; byte < end; ++byte) {
    const std::int64_t count = a.n - 8 * byte < 8 ? a.n - 8 * byte : 8;
    float* __restrict value = a.value + 8 * byte;
    const float* __restrict update = a.update + 8 * byte;
    const unsigned bits = a.live[byte];
    for (std::int64_t j = 0; j < count; ++j)
      value[j] = keep * value[j] - ((bits >> j & 1) != 0 ? step_size * update[j] : 0.0F);
  }
}

}  // namespace

const OnebitKernels onebit_kernels{&step, &mark_live, &precondition, &follow};

}  // namespace gradwire::GW_ISA
