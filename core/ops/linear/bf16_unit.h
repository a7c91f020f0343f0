// bf16 products by kernels that take bf16 numbers as they are, for processors with bf16
// instructions, if these are faster than f32: oneDNN's (AMX, AVX-512), or our own (AVX512_BF16).
// Elsewhere bf16 is widened to f32 tile by tile (gemm_cpu.cpp). Which of them is the fastest on a
// processor is found by measuring (bf16_speed.h). The choice lives in the context's engine.
//
// Kernels for AVX512_BF16, oneDNN's too, take numbers below the normal range of f32 as zero.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "core/ops/linear/gemm.h"

namespace gradwire::cpu {

enum class Bf16Path { kWiden, kOneDnn, kAvx512 };
inline constexpr std::array kAllBf16Paths{Bf16Path::kWiden, Bf16Path::kOneDnn, Bf16Path::kAvx512};
const char* name_of(Bf16Path path);  // "widen", "onednn", "avx512"

// The ways in which this processor can make bf16 products: kWiden; kOneDnn if the library has bf16
// kernels for it (AVX-512); kAvx512 if it has AVX512_BF16. GRADWIRE_BF16 with the name of one
// leaves that one alone, or kWiden if the processor has no such way. Errors: kConfig for other
// values of the variable.
std::vector<Bf16Path> bf16_paths();

// From now on the CPU products of this context's engine, and of copies of the context, go this way.
// To be called before the first of them: copies of weights are laid out for one way. Until it is
// called, oneDNN is taken on processors with a bf16 matrix unit (AMX).
void use_bf16_path(Context& cx, Bf16Path path);

// The way that the products of this context's engine go on the CPU.
Bf16Path bf16_path(const Context& cx);

// Whether bf16 products of this context are made of bf16 numbers, not of widened ones. False on
// other devices.
bool use_bf16_unit(const Context& cx);

// A bf16 operand [k, n] in the order of elements that the kernels read. For the second operand of
// any number of products, of any m, on the engine that packed it.
struct PackedMatrix;
std::shared_ptr<PackedMatrix> pack(Context& cx, const GemmOperand& b, std::int64_t k,
                                   std::int64_t n);

// gemm() for bf16 a and b, k >= 1, if use_bf16_unit().
void gemm_bf16(Context& cx, const Gemm& g);

}  // namespace gradwire::cpu
