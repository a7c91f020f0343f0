// The device sides of gemm().
#pragma once

#include "core/ops/linear/gemm.h"

namespace gradwire::cpu {

void gemm(Context& cx, const Gemm& g);

}  // namespace gradwire::cpu

namespace gradwire::cuda {

// By cuBLASLt; plans live in the context's engine. bf16 products for whose layout it has no
// algorithm are made in f32. A bf16 result with a bias is rounded once, from a product in f32
// scratch memory of its size. A product made in f32, without a bias, into a bf16 c that has gaps
// between its rows: Error(kDevice).
void gemm(Context& cx, const Gemm& g);
// c of `result` = c of `product` + bias of `result` on every row. The products are in the type that
// kernels compute in, f32 for bf16: a result is rounded once. Both may be one.
void add_bias(Stream s, const Gemm& product, const Gemm& result);

}  // namespace gradwire::cuda
