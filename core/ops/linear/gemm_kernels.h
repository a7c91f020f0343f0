// The device sides of gemm().
#pragma once

#include "core/ops/linear/gemm.h"

namespace gradwire::cpu {

void gemm(Context& cx, const Gemm& g);

}  // namespace gradwire::cpu

namespace gradwire::cuda {

// By cuBLASLt; plans live in the context's engine. f32 operands into a bf16 c that has gaps between
// its rows: Error(kDevice).
void gemm(Context& cx, const Gemm& g);
// c += bias on every row.
void add_bias(Stream s, const Gemm& g);

}  // namespace gradwire::cuda
