#include "core/cuda/pack.h"
#include "core/dispatch.h"
#include "core/ops/linear/gemm_kernels.h"

namespace gradwire::cuda {
namespace {

template <class T>
__device__ __forceinline__ T* row_of(const Gemm& g, std::int64_t r) {
  return static_cast<T*>(g.c) + r / g.m * g.c_batch_stride + r % g.m * g.ldc;
}

// A block per row of c.
template <class T>
__global__ void __launch_bounds__(kBlock) add_bias_kernel(Gemm product, Gemm result) {
  const Compute<T>* bias = static_cast<const Compute<T>*>(result.bias);
  for (std::int64_t r = blockIdx.x; r < result.batch * result.m; r += gridDim.x) {
    const Compute<T>* from = row_of<Compute<T>>(product, r);
    T* to = row_of<T>(result, r);
    for (std::int64_t i = threadIdx.x; i < result.n; i += kBlock)
      to[i] = static_cast<T>(from[i] + bias[i]);
  }
}

}  // namespace

void add_bias(Stream s, const Gemm& product, const Gemm& result) {
  on_float(result.c_dtype, [&](auto element) {
    launch(s, blocks_for(result.batch * result.m, 1),
           add_bias_kernel<typename decltype(element)::type>, product, result);
  });
}

}  // namespace gradwire::cuda
