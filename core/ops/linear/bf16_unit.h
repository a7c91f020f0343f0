// bf16 products by oneDNN's own bf16 kernels, for processors with bf16 instructions (AMX,
// AVX512_BF16), if the library is faster than f32. Elsewhere bf16 is widened to f32 tile by tile
// (gemm_cpu.cpp). Which of both is faster on a processor is found by measuring (bf16_speed.h).
// Plans live in the context's engine.
#pragma once

#include <memory>
#include <vector>

#include "core/ops/linear/gemm.h"

namespace gradwire::cpu {

enum class Bf16Path { kWiden, kOneDnn };
const char* name_of(Bf16Path path);  // "widen", "onednn"

// The ways in which this processor can make bf16 products: kWiden, and kOneDnn if the library
// has bf16 kernels for it (AVX-512). GRADWIRE_BF16=widen or =onednn, as far as there is such a way,
// leaves that one alone. Errors: kConfig for other values of the variable.
std::vector<Bf16Path> bf16_paths();

// From now on the CPU products of this context's engine, and of copies of the context, go this way.
// To be called before the first of them: copies of weights are laid out for one way. Until it is
// called, oneDNN is taken on processors with a bf16 matrix unit (AMX).
void use_bf16_path(Context& cx, Bf16Path path);

// Whether bf16 products of this context go to oneDNN. False on other devices.
bool use_bf16_unit(const Context& cx);

// A bf16 operand [k, n] in the order of elements that the library's kernels read. For the second
// operand of any number of products, of any m, on the engine that packed it.
struct PackedMatrix;
std::shared_ptr<PackedMatrix> pack(Context& cx, const GemmOperand& b, std::int64_t k,
                                   std::int64_t n);

// gemm() for bf16 a and b, k >= 1, if use_bf16_unit(). A tile is one call of the library on one
// thread, with scratch memory of the allocator; small heap allocations inside the library remain.
void gemm_bf16(Context& cx, const Gemm& g);

}  // namespace gradwire::cpu
