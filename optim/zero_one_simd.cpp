#include "optim/zero_one_kernels.h"

namespace gradwire::GW_ISA {
namespace {

void collect(const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t begin,
             std::int64_t end) {
  const ZeroOneMath update = math;  // a copy, so that stores cannot be thought to change it
  float* __restrict m = a.m;
  float* __restrict u = a.u;
  const float* __restrict v = a.v;
  const float* __restrict grad = a.grad;
  if (grad == nullptr) {
    for (std::int64_t i = begin; i < end; ++i)
      update.collect(0.0F, m[i], u[i], v[i]);
    return;
  }
  for (std::int64_t i = begin; i < end; ++i)
    update.collect(grad[i], m[i], u[i], v[i]);
}

// No __restrict on value and anchor: they may be the same array, element by element.
void place(const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t begin, std::int64_t end) {
  const ZeroOneMath update = math;
  float* value = a.value;
  const float* anchor = a.anchor;
  const float* u = a.u;
  const float* v = a.v;
#pragma GCC ivdep
  for (std::int64_t i = begin; i < end; ++i)
    value[i] = update.place(anchor[i], u[i], v[i]);
}

// By blocks: the second loop finds in the cache what the first one left. One loop over all six
// arrays is a fifth slower.
void local(const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kBlock = 512;
  for (std::int64_t at = begin; at < end; at += kBlock) {
    const std::int64_t to = end - at < kBlock ? end : at + kBlock;
    collect(math, a, at, to);
    place(math, a, at, to);
  }
}

void settle(const ZeroOneMath& math, const ZeroOneArrays& a, std::int64_t begin, std::int64_t end) {
  float* __restrict m = a.m;
  const float* __restrict u = a.u;
  const float* __restrict v = a.v;
  const ZeroOneMath update = math;
  for (std::int64_t i = begin; i < end; ++i)
    m[i] = update.agreed(u[i], v[i]);
  place(math, a, begin, end);
}

}  // namespace

const ZeroOneKernels zero_one_kernels{&collect, &local, &settle};

}  // namespace gradwire::GW_ISA
