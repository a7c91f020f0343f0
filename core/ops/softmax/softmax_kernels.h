// Loops behind softmax and log-softmax, a range of rows at a time; tables indexed by float_index().
#pragma once

#include "core/bf16.h"
#include "core/device.h"
#include "core/simd.h"

namespace gradwire {

class Tensor;

enum class SoftmaxKind : int { kPlain, kLog };

// Entries [kind][type].
struct SoftmaxKernels {
  void (*forward[2][3])(void* y, const void* x, std::int64_t rows, std::int64_t width);
  // From the output y.
  void (*backward[2][3])(void* dx, const void* y, const void* dy, std::int64_t rows,
                         std::int64_t width);
};
GW_DECLARE_KERNELS(SoftmaxKernels, softmax_kernels);

// Over the last dimension of tensors of one shape and float type.
namespace cpu {
void softmax(SoftmaxKind kind, const Tensor& y, const Tensor& x);
void softmax_grad(SoftmaxKind kind, const Tensor& dx, const Tensor& y, const Tensor& dy);
}  // namespace cpu

// The same on a stream.
namespace cuda {
void softmax(Stream s, SoftmaxKind kind, const Tensor& y, const Tensor& x);
void softmax_grad(Stream s, SoftmaxKind kind, const Tensor& dx, const Tensor& y, const Tensor& dy);
}  // namespace cuda

}  // namespace gradwire
