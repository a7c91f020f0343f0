// Loops behind the reductions. Partial sums are cut by sizes alone and combined in order, so every
// result is the same for any number of threads.
#pragma once

#include <span>

#include "core/bf16.h"
#include "core/device.h"
#include "core/simd.h"

namespace gradwire {

class Tensor;
struct Axis;
struct Context;

// Tables are indexed by float_index(). The type computed in, C, is f32 for bf16.
struct ReduceKernels {
  // Sum of n elements.
  double (*sum[3])(const void* x, std::int64_t n);
  double (*sum_of_squares[3])(const void* x, std::int64_t n);
  bool (*all_finite[3])(const void* x, std::int64_t n);
  // acc[c] = sum over rows of x[r * stride + c], in C.
  void (*sum_rows[3])(void* acc, const void* x, std::int64_t rows, std::int64_t stride,
                      std::int64_t cols);
  // y[i] = factor * x[i], x in C; and y[i] = value.
  void (*spread[3])(void* y, const void* x, double factor, std::int64_t n);
  void (*set[3])(void* y, double value, std::int64_t n);
};
GW_DECLARE_KERNELS(ReduceKernels, reduce_kernels);

// The type sums of `t` are made in.
inline DType sum_type(DType t) {
  return t == DType::kBf16 ? DType::kF32 : t;
}

namespace cpu {
// out[o, i] = beta * out[o, i] + sum over l of x[o, l, i]; beta is 0 or 1, out in sum_type().
void sum_axis(Context& cx, const Tensor& out, const Tensor& x, const Axis& axis, float beta);
// y[o, l, i] = factor * x[o, i], x in sum_type().
void spread_axis(const Tensor& y, const Tensor& x, const Axis& axis, double factor);
double sum_of_squares(Context& cx, const Tensor& x);
bool all_finite(const Tensor& x);
}  // namespace cpu

// The same on a stream; the last two wait for their answer.
namespace cuda {
void sum_axis(Context& cx, const Tensor& out, const Tensor& x, const Axis& axis, float beta);
void spread_axis(Stream s, const Tensor& y, const Tensor& x, const Axis& axis, double factor);
double sum_of_squares(Context& cx, std::span<const Tensor> tensors);
bool all_finite(Context& cx, const Tensor& t);
}  // namespace cuda

}  // namespace gradwire
