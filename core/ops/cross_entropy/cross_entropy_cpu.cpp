#include <algorithm>

#include "core/dispatch.h"
#include "core/ops/cross_entropy/cross_entropy_kernels.h"
#include "core/parallel_for.h"

namespace gradwire::cpu {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 14;  // elements

std::int64_t grain_of(std::int64_t width) {
  return std::max<std::int64_t>(1, kGrain / width);
}

}  // namespace

void cross_entropy(DType type, const CrossEntropyRows& a, std::int64_t rows) {
  const auto kernel = cross_entropy_kernels().forward[float_index(type)];
  parallel_for(rows, grain_of(a.width), [&](std::int64_t b, std::int64_t e) { kernel(a, b, e); });
}

void cross_entropy_grad(DType type, const CrossEntropyRows& a, std::int64_t rows) {
  const auto kernel = cross_entropy_kernels().backward[float_index(type)];
  parallel_for(rows, grain_of(a.width), [&](std::int64_t b, std::int64_t e) { kernel(a, b, e); });
}

}  // namespace gradwire::cpu
