// The two libraries of bf16 matrix products behind bf16_unit.h: oneDNN's kernels, and our own for
// AVX512_BF16. Each packs second operands in its own order.
#pragma once

#include <memory>

#include "core/ops/linear/gemm.h"
#include "core/tensor.h"

namespace gradwire::cpu {

struct PackedMatrix {
  Tensor storage;
  std::shared_ptr<const void> described;  // the library's own object for it, if it has one
};

namespace onednn {

bool has_bf16_kernels();  // for this processor
bool has_matrix_unit();   // AMX

std::shared_ptr<PackedMatrix> pack(Context& cx, const GemmOperand& b, std::int64_t k,
                                   std::int64_t n);
// A tile is one call of the library on one thread, with scratch memory of the allocator; small heap
// allocations inside the library remain.
void gemm_bf16(Context& cx, const Gemm& g);

}  // namespace onednn

namespace avx512 {

std::shared_ptr<PackedMatrix> pack(Context& cx, const GemmOperand& b, std::int64_t k,
                                   std::int64_t n);
// Packs b first, unless it is packed already, into as many bytes of scratch memory as it has; then
// a tile of c is one task, which packs its rows of a.
void gemm_bf16(Context& cx, const Gemm& g);

}  // namespace avx512

}  // namespace gradwire::cpu
