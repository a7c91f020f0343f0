// The device sides of gemm().
#pragma once

#include "core/ops/linear/gemm.h"

namespace gradwire::cpu {

void gemm(Context& cx, const Gemm& g);

}  // namespace gradwire::cpu

namespace gradwire::cuda {

// By cuBLASLt; plans live in the context's engine. bf16 products for whose layout it has no
// algorithm are made in f32. A product made in f32 into a bf16 c that has gaps between its rows:
// Error(kDevice).
void gemm(Context& cx, const Gemm& g);
// c += bias on every row.
void add_bias(Stream s, const Gemm& g);

}  // namespace gradwire::cuda
