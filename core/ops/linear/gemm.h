// Matrix products below linear, matmul and attention: one description of a (batched) product, cut
// into tiles by its shape alone, so that results do not depend on the number of threads. Operands
// are row-major with a leading dimension, so that parts of tensors need no copy.
#pragma once

#include <cstdint>

#include "core/context.h"
#include "core/device.h"

namespace gradwire {

namespace cpu {
struct PackedMatrix;
}

struct GemmOperand {
  const void* data = nullptr;
  std::int64_t ld = 0;      // elements from one stored row to the next
  bool transposed = false;  // the product uses the transpose of what is stored
  DType dtype = DType::kF32;
  std::int64_t batch_stride = 0;              // elements; 0: the same matrix in every product
  const cpu::PackedMatrix* packed = nullptr;  // instead of data, for b: cpu::pack()
};

// c[i] = op(a[i]) op(b[i]) (+ c[i]) (+ bias on every row) for i < batch; op(a) is [m, k], op(b) is
// [k, n]. bf16 operands are multiplied exactly and summed in f32; f64 takes f64 throughout.
struct Gemm {
  std::int64_t batch = 1, m = 0, n = 0, k = 0;
  GemmOperand a, b;
  void* c = nullptr;
  std::int64_t ldc = 0;
  DType c_dtype = DType::kF32;
  std::int64_t c_batch_stride = 0;
  bool accumulate = false;     // add to c; not for a bf16 c
  const void* bias = nullptr;  // [n], f32 (f64 if c is f64)
};

// Any device. Operands are f32 and bf16 in any mixture, or all f64; errors: kShape.
void gemm(Context& cx, const Gemm& g);

}  // namespace gradwire
