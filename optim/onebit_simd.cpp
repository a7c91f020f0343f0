#include "optim/onebit_kernels.h"

namespace gradwire::GW_ISA {
namespace {

// A bucket is updated in pieces of a thousand elements, each after it has been decoded. Meanwhile
// the processor stops looking ahead, so what the next pieces need is asked for here.
constexpr std::int64_t kLine = 16;  // elements of a line of the cache
constexpr std::int64_t kAhead = 2048;

void step(const FrozenMath& math, const FrozenArrays& a, std::int64_t begin, std::int64_t end) {
  const FrozenMath update = math;  // a copy, so that stores cannot be thought to change it
  float* __restrict value = a.value;
  const float* __restrict m = a.m;
  const float* __restrict v = a.v;
  std::int64_t i = begin;
  for (; i + kLine <= end; i += kLine) {
    __builtin_prefetch(value + i + kAhead);
    __builtin_prefetch(v + i + kAhead);
    for (std::int64_t j = i; j < i + kLine; ++j)
      update(value[j], m[j], v[j]);
  }
  for (; i < end; ++i)
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

std::int32_t top_level(const float* v, std::int64_t begin, std::int64_t end) {
  std::int32_t top = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    const std::int32_t level = CoarseSquare::level(v[i]);
    top = level > top ? level : top;
  }
  return top;
}

void make_coarse(const CoarseSquare& coarse, const CoarseArrays& a, std::int64_t begin,
                 std::int64_t end) {
  const CoarseSquare rounding = coarse;
  std::uint8_t* __restrict code = a.code;
  float* __restrict m = a.m;
  const float* __restrict v = a.v;
  for (std::int64_t i = begin; i < end; ++i) {
    code[i] = rounding.code(v[i]);
    m[i] = v[i] != 0.0F ? m[i] : 0.0F;
  }
}

void follow(const FrozenMath& math, const CoarseSquare& coarse, const FollowArrays& a,
            std::int64_t begin, std::int64_t end) {
  const FrozenMath update = math;
  const CoarseSquare square = coarse;
  float* __restrict value = a.value;
  const float* __restrict m = a.m;
  const std::uint8_t* __restrict code = a.code;
  for (std::int64_t i = begin; i < end; ++i)
    update(value[i], code[i] != 0 ? m[i] : 0.0F, square(code[i]));
}

}  // namespace

const OnebitKernels onebit_kernels{&step, &mark_live, &top_level, &make_coarse, &follow};

}  // namespace gradwire::GW_ISA
