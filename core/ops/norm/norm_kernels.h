// Loops behind the normalisations, a range of rows at a time. Null pointers leave a part out: no
// bias, no mean (rmsnorm), no gradient of x or of the weights.
#pragma once

#include "core/bf16.h"
#include "core/device.h"
#include "core/simd.h"

namespace gradwire {

class Tensor;
struct Context;

// C is the type computed in: f32, or f64 for f64. x, y, dx, dy have the element type.
struct NormForward {
  const void* x;       // [rows, width]
  const void* weight;  // C [width]
  const void* bias;    // C [width], layernorm only
  void* y;             // [rows, width]
  void* mean;          // C [rows], layernorm only: null asks for rmsnorm
  void* rstd;          // C [rows]
  std::int64_t width;
  double eps;
};
struct NormBackward {
  const void* x;
  const void* dy;
  const void* weight;
  const void* mean;
  const void* rstd;
  void* dx;
  void* dweight;  // C [width] of this range of rows, overwritten
  void* dbias;    // C [width] of this range of rows, layernorm only
  std::int64_t width;
};

// Tables are indexed by float_index().
struct NormKernels {
  void (*forward[3])(const NormForward& a, std::int64_t begin, std::int64_t end);
  void (*backward[3])(const NormBackward& a, std::int64_t begin, std::int64_t end);
};
GW_DECLARE_KERNELS(NormKernels, norm_kernels);

namespace cpu {
// Into how many ranges of rows the sums of the weight gradients are cut.
std::int64_t norm_chunks(std::int64_t rows, std::int64_t width);
void norm_forward(DType type, const NormForward& a, std::int64_t rows);
// The last two: [chunks, width] sums of norm_chunks() ranges of rows, or empty.
void norm_backward(DType type, const NormBackward& a, std::int64_t rows, const Tensor& dweights,
                   const Tensor& dbiases);
}  // namespace cpu

// The same on a stream.
namespace cuda {
std::int64_t norm_chunks(std::int64_t rows);
void norm_forward(Stream s, DType type, const NormForward& a, std::int64_t rows);
void norm_backward(Stream s, DType type, const NormBackward& a, std::int64_t rows,
                   const Tensor& dweights, const Tensor& dbiases);
}  // namespace cuda

}  // namespace gradwire
