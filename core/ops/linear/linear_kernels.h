// Loops around the matrix products: conversion of blocks, bias, column sums.
#pragma once

#include <cstdint>

#include "core/bf16.h"
#include "core/simd.h"

namespace gradwire {

struct LinearKernels {
  // dst[r, c] <- src[r, c], a block of `rows` x `cols` with its own leading dimensions.
  void (*widen)(const Bf16* src, std::int64_t src_ld, float* dst, std::int64_t dst_ld,
                std::int64_t rows, std::int64_t cols);
  void (*narrow)(const float* src, std::int64_t src_ld, Bf16* dst, std::int64_t dst_ld,
                 std::int64_t rows, std::int64_t cols);
  // dst <- src rounded to what bf16 can hold.
  void (*round)(const float* src, float* dst, std::int64_t n);
  // x[r, c] += bias[c].
  void (*add_bias_f32)(float* x, std::int64_t ld, const float* bias, std::int64_t rows,
                       std::int64_t cols);
  void (*add_bias_f64)(double* x, std::int64_t ld, const double* bias, std::int64_t rows,
                       std::int64_t cols);
  // out[c] = beta * out[c] + the sum over rows of x[r, c], for begin <= c < end.
  void (*column_sums_f32)(const float* x, std::int64_t rows, std::int64_t ld, float beta,
                          float* out, std::int64_t begin, std::int64_t end);
  void (*column_sums_f64)(const double* x, std::int64_t rows, std::int64_t ld, float beta,
                          double* out, std::int64_t begin, std::int64_t end);
  void (*column_sums_bf16)(const Bf16* x, std::int64_t rows, std::int64_t ld, float beta,
                           float* out, std::int64_t begin, std::int64_t end);
};
GW_DECLARE_KERNELS(LinearKernels, linear_kernels);

}  // namespace gradwire
