#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/linear/gemm_kernels.h"

namespace gradwire::cuda {
namespace {

// A block per row of c.
template <class T>
__global__ void __launch_bounds__(kBlock) add_bias_kernel(Gemm g) {
  const Compute<T>* bias = static_cast<const Compute<T>*>(g.bias);
  for (std::int64_t r = blockIdx.x; r < g.batch * g.m; r += gridDim.x) {
    T* row = static_cast<T*>(g.c) + r / g.m * g.c_batch_stride + r % g.m * g.ldc;
    for (std::int64_t i = threadIdx.x; i < g.n; i += kBlock)
      row[i] = static_cast<T>(widen(row[i]) + bias[i]);
  }
}

}  // namespace

void add_bias(Stream s, const Gemm& g) {
  on_float(g.c_dtype, [&](auto element) {
    launch(s, blocks_for(g.batch * g.m, 1), add_bias_kernel<typename decltype(element)::type>, g);
  });
}

}  // namespace gradwire::cuda
