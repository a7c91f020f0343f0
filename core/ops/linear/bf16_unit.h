// bf16 products by oneDNN's own bf16 kernels, for processors with a bf16 matrix unit (AMX), where
// the library reaches several times the speed of f32. Everywhere else bf16 is widened to f32 tile
// by tile (gemm_cpu.cpp), since without the unit these kernels are slower than that.
// Plans live in the context's engine. Correctness is tested on processors without the unit, which
// run other kernels of the library behind the same calls; with the unit this has not been timed.
#pragma once

#include <memory>

#include "core/ops/linear/gemm.h"

namespace gradwire::cpu {

// Whether bf16 products of this context go to oneDNN: on a CPU with a bf16 matrix unit. The
// environment decides otherwise for an engine's lifetime: GRADWIRE_BF16=widen never,
// GRADWIRE_BF16=onednn wherever the library has bf16 kernels (AVX-512). Other values:
// Error(kConfig). False on other devices.
bool use_bf16_unit(const Context& cx);

// A bf16 operand [k, n] in the order of elements that the library's kernels read. For the second
// operand of any number of products, of any m, on the engine that packed it.
struct PackedMatrix;
std::shared_ptr<PackedMatrix> pack(Context& cx, const GemmOperand& b, std::int64_t k,
                                   std::int64_t n);

// gemm() for bf16 a and b, k >= 1, where use_bf16_unit(). A tile is one call of the library on one
// thread, with scratch memory of the allocator; small heap allocations inside the library remain.
void gemm_bf16(Context& cx, const Gemm& g);

}  // namespace gradwire::cpu
