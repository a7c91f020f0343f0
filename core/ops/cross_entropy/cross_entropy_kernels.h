// Loops behind the fused cross-entropy, a range of rows at a time; tables indexed by float_index().
#pragma once

#include "core/bf16.h"
#include "core/device.h"
#include "core/simd.h"

namespace gradwire {

// C is the type computed in: f32, or f64 for f64.
struct CrossEntropyRows {
  const void* logits;           // [rows, width]
  const std::int32_t* targets;  // [rows]
  std::int64_t width;
  std::int32_t ignore_index;
  double smoothing;
  void* log_sum;  // C [rows], log of the sum of exponentials: forward writes it
  void* losses;   // C [rows], forward only
  void* dlogits;  // [rows, width], backward only; may be the logits themselves
  double scale;   // of the gradient, backward only
};

struct CrossEntropyKernels {
  void (*forward[3])(const CrossEntropyRows& a, std::int64_t begin, std::int64_t end);
  void (*backward[3])(const CrossEntropyRows& a, std::int64_t begin, std::int64_t end);
};
GW_DECLARE_KERNELS(CrossEntropyKernels, cross_entropy_kernels);

namespace cpu {
void cross_entropy(DType type, const CrossEntropyRows& a, std::int64_t rows);
void cross_entropy_grad(DType type, const CrossEntropyRows& a, std::int64_t rows);
}  // namespace cpu

// The same on a stream.
namespace cuda {
void cross_entropy(Stream s, DType type, const CrossEntropyRows& a, std::int64_t rows);
void cross_entropy_grad(Stream s, DType type, const CrossEntropyRows& a, std::int64_t rows);
}  // namespace cuda

}  // namespace gradwire
