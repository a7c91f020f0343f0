#include "core/dispatch.h"
#include "core/ops/dropout/dropout_kernels.h"
#include "core/parallel_for.h"
#include "core/tensor.h"

namespace gradwire::cpu {

void dropout(const Tensor& y, const Tensor& x, const DropoutMask& mask) {
  constexpr std::int64_t kGrain = std::int64_t{1} << 14;
  const auto kernel = dropout_kernels().apply[float_index(y.dtype())];
  parallel_for(y.numel(), kGrain,
               [&](std::int64_t b, std::int64_t e) { kernel(y.raw(), x.raw(), mask, b, e); });
}

}  // namespace gradwire::cpu
