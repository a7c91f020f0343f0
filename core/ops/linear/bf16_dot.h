// Blocks of matrix products with AVX512_BF16, for processors that have it and no matrix unit (AMD
// since Zen 4, Intel's Cooper Lake): the instruction vdpbf16ps adds two products of bf16 numbers to
// each of 16 sums in f32, twice the arithmetic of f32 at the same rate.
//
// It works on pairs of consecutive k. Pairs of op(a) are read one at a time: where they lie, if k
// runs along the rows, or from a copy in pairs. op(b) is packed into panels of kDotCols columns, in
// which element (k, i) lies at (k / 2 * kDotCols + i) * 2 + k % 2. What is missing from the last
// panel or from the last pair is zero.
//
// The instruction takes bf16 and f32 numbers below the normal range as zero, and returns no such
// numbers: a product of f32 keeps them. Infinities and NaN are as in f32.
#pragma once

#include <cstdint>

#include "core/bf16.h"

namespace gradwire {

inline constexpr std::int64_t kDotRows = 6, kDotCols = 64;  // of one call of multiply()
inline constexpr std::int64_t kDotLine = 32;                // bf16 numbers of a register

// A matrix whose rows are `ld` elements apart.
struct DotMatrix {
  const Bf16* data;
  std::int64_t ld;
};

// A block of c of at most kDotRows x kDotCols: c = a b (+ partial) (+ bias on every row).
struct DotBlock {
  const Bf16* a;
  std::int64_t a_row, a_pair;  // elements from one row, and from one pair, to the next
  const Bf16* b;               // a panel
  std::int64_t pairs;
  std::int64_t rows, cols;
  const float* partial;  // null: none; may be c itself
  std::int64_t partial_ld;
  const float* bias;  // [cols]; null: none
  void* c;            // f32, or bf16 if narrow
  std::int64_t ldc;
  bool narrow;
};

struct Bf16DotKernels {
  void (*multiply)(const DotBlock& block);
  // Packs a panel: columns of a stored [depth, count], or rows of a stored [count, depth], count at
  // most kDotCols.
  void (*pack_columns)(DotMatrix from, std::int64_t depth, std::int64_t count, Bf16* panel);
  void (*pack_rows)(DotMatrix from, std::int64_t depth, std::int64_t count, Bf16* panel);
  // Element (k, i) of a stored [depth, count] to (k / 2 * to_ld + i) * 2 + k % 2; an odd last row
  // gets zeros for the other half of its pairs. to_ld is at least count rounded up to kDotLine, and
  // what lies between count and that is written over.
  void (*interleave)(DotMatrix from, std::int64_t depth, std::int64_t count, std::int64_t to_ld,
                     Bf16* to);
};

// Null if this processor has no AVX512_BF16, or if GRADWIRE_ISA asks for less than v4.
const Bf16DotKernels* bf16_dot_kernels();

// A product of any number of rows and columns: `whole` as if it were one block, the panels of b
// `panel` elements apart. Only if there are bf16_dot_kernels().
void multiply_blocks(const DotBlock& whole, std::int64_t panel);

}  // namespace gradwire
