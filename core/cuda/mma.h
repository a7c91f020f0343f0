// Tensor-core products of bf16 fragments that a warp holds, and asynchronous copies into shared
// memory, as the PTX ISA describes them ("Matrix Fragments for mma.m16n8k16", "ldmatrix",
// "cp.async"); any device of compute capability 8.0 or newer has them.
//
// In a 16 x 8 result, lane l of the warp holds columns 2 (l % 4) and the next one of row l / 4 (the
// first two values) and of row l / 4 + 8 (the last two).
#pragma once

#include <cstdint>

#include "core/bf16.h"

namespace gradwire::cuda {

// A 16 x 16 left operand, a 16 x 16 right operand (two neighbouring 16 x 8 ones), two bf16 a word.
struct LeftFragment {
  std::uint32_t word[4];
};
struct RightFragment {
  std::uint32_t word[4];
};
struct ResultFragment {
  float v[4];
};

// Rows of kWidth bf16 elements in shared memory, each followed by 16 unused bytes: the rows of a
// fragment then begin in different banks.
template <int kWidth>
inline constexpr int kTileStride = kWidth + 8;

__device__ __forceinline__ std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

__device__ __forceinline__ void load_matrices(std::uint32_t (&word)[4], const Bf16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(word[0]), "=r"(word[1]), "=r"(word[2]), "=r"(word[3])
               : "r"(shared_address(row)));
}
__device__ __forceinline__ void load_matrices_transposed(std::uint32_t (&word)[4],
                                                         const Bf16* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(word[0]), "=r"(word[1]), "=r"(word[2]), "=r"(word[3])
               : "r"(shared_address(row)));
}

// Elements [row + i, column + k] as the left operand's row i, column k.
template <int kWidth>
__device__ __forceinline__ LeftFragment left_fragment(const Bf16* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  LeftFragment f;
  load_matrices(f.word, tile + (row + lane % 16) * kTileStride<kWidth> + column + lane / 16 * 8);
  return f;
}

// Elements [row + n, column + k] as the right operand's row k, column n: products with rows.
template <int kWidth>
__device__ __forceinline__ RightFragment right_fragment_of_rows(const Bf16* tile, int row,
                                                                int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  RightFragment f;
  load_matrices(f.word, tile + (row + lane % 8 + lane / 16 * 8) * kTileStride<kWidth> + column +
                            lane / 8 % 2 * 8);
  return f;
}

// Elements [row + k, column + n] as the right operand's row k, column n: products with columns.
template <int kWidth>
__device__ __forceinline__ RightFragment right_fragment_of_columns(const Bf16* tile, int row,
                                                                   int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  RightFragment f;
  load_matrices_transposed(f.word,
                           tile + (row + lane % 16) * kTileStride<kWidth> + column + lane / 16 * 8);
  return f;
}

// Two results side by side, rounded to bf16, as a left operand: its columns are their columns.
__device__ __forceinline__ std::uint32_t bf16_pair(float low, float high) {
  std::uint32_t word;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
  return word;
}
__device__ __forceinline__ LeftFragment as_left(const ResultFragment& a, const ResultFragment& b) {
  return {{bf16_pair(a.v[0], a.v[1]), bf16_pair(a.v[2], a.v[3]), bf16_pair(b.v[0], b.v[1]),
           bf16_pair(b.v[2], b.v[3])}};
}

// sum += left times one half (columns 8 half .. 8 half + 7) of right.
template <int kHalf>
__device__ __forceinline__ void multiply_add(ResultFragment& sum, const LeftFragment& left,
                                             const RightFragment& right) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sum.v[0]), "+f"(sum.v[1]), "+f"(sum.v[2]), "+f"(sum.v[3])
      : "r"(left.word[0]), "r"(left.word[1]), "r"(left.word[2]), "r"(left.word[3]),
        "r"(right.word[2 * kHalf]), "r"(right.word[2 * kHalf + 1]));
}

// Queues a copy of 16 bytes (zeros if !present: `from` is then not read).
__device__ __forceinline__ void copy_16_bytes(void* to, const void* from, bool present) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(present ? 16 : 0)
               : "memory");
}
__device__ __forceinline__ void copy_4_bytes(void* to, const void* from, bool present) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from),
               "r"(present ? 4 : 0)
               : "memory");
}
// What this thread has queued since the last call is one group of copies.
__device__ __forceinline__ void end_copy_group() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until at most the newest kNewest groups of this thread's copies are under way.
template <int kNewest>
__device__ __forceinline__ void await_copy_groups() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kNewest) : "memory");
}

}  // namespace gradwire::cuda
