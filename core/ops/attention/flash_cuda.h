// Attention in bf16 on tensor cores without a score matrix in memory: scores of a tile of queries
// and keys live in registers (Dao, "FlashAttention-2", 2023). Backward runs one kernel over tiles
// of keys for dk and dv and one over tiles of queries for dq, each recomputing the scores: two
// products more than with atomic sums into dq, and the same bits each time.
#pragma once

#include "core/cuda/launch.h"
#include "core/cuda/mma.h"
#include "core/math.h"
#include "core/ops/attention/attention_kernels.h"

namespace gradwire::cuda {

// Widest head that the kernels are compiled for.
inline constexpr std::int64_t kWidestFlashHead = 128;

// True if the kernels below take these tensors: bf16, heads of at most kWidestFlashHead elements
// in whole words of 16 bytes, all of it aligned to 16 bytes.
bool flash_takes(const AttentionShape& s, const AttentionTensors& t);

// As attention_forward and attention_backward. delta [B, heads, T], f32: <dy, y> of each row.
void flash_forward(Context& cx, const AttentionShape& s, const AttentionTensors& t);
void flash_backward(Context& cx, const AttentionShape& s, const AttentionTensors& t,
                    const Tensor& dy, const Tensor& delta, const AttentionGradients& g);

namespace flash {

inline constexpr int kFragmentRows = 16;  // of a result fragment
inline constexpr int kFragmentCols = 8;
inline constexpr float kLog2E = 1.44269504088896340736F;

__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Rows of one head: row r is `stride` elements behind row r - 1.
template <class T>
struct HeadRows {
  T* first;
  std::int64_t stride;
  __device__ T* row(std::int64_t r) const { return first + r * stride; }
};

// The rows of a head in a tensor [B, rows, heads * width].
template <class T>
__device__ __forceinline__ HeadRows<T> rows_of(T* tensor, std::int64_t batch, std::int64_t rows,
                                               std::int64_t heads, std::int64_t head,
                                               std::int64_t width) {
  return {tensor + (batch * rows * heads + head) * width, heads * width};
}

// Queues a copy of kRows rows from row `first` on into a tile; rows from `rows` on and columns from
// `width` on become zero.
template <int kRows, int kWidth, int kThreads>
__device__ __forceinline__ void load_tile(Bf16* tile, const HeadRows<const Bf16>& from,
                                          std::int64_t first, std::int64_t rows,
                                          std::int64_t width) {
  constexpr int kChunks = kWidth / 8;  // of 16 bytes, in a row
  static_assert(kRows * kChunks % kThreads == 0);
#pragma unroll
  for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
    const int at = i * kThreads + static_cast<int>(threadIdx.x);
    const int row = at / kChunks, chunk = at % kChunks;
    const bool present = first + row < rows && chunk * 8 < width;
    const Bf16* source = present ? from.row(first + row) + chunk * 8 : from.first;
    copy_16_bytes(tile + row * kTileStride<kWidth> + chunk * 8, source, present);
  }
}

// sums[m][n] += rows of `left` (from left_row + 16 m) times rows of `right` (from 8 n), over kWidth
// columns.
template <int kWidth, int kM, int kN>
__device__ __forceinline__ void add_row_products(ResultFragment (&sums)[kM][kN], const Bf16* left,
                                                 int left_row, const Bf16* right) {
#pragma unroll
  for (int k = 0; k < kWidth; k += 16) {
    LeftFragment a[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m)
      a[m] = left_fragment<kWidth>(left, left_row + m * kFragmentRows, k);
#pragma unroll
    for (int n = 0; n < kN; n += 2) {
      const RightFragment b = right_fragment_of_rows<kWidth>(right, n * kFragmentCols, k);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply_add<0>(sums[m][n], a[m], b);
        multiply_add<1>(sums[m][n + 1], a[m], b);
      }
    }
  }
}

// sums[m][d] += weights[m] (rounded to bf16) times the rows of `tile`, of kWidth columns.
template <int kWidth, int kM, int kN>
__device__ __forceinline__ void add_weighted_rows(
    ResultFragment (&sums)[kM][kWidth / kFragmentCols], const ResultFragment (&weights)[kM][kN],
    const Bf16* tile) {
#pragma unroll
  for (int n = 0; n < kN; n += 2) {
    LeftFragment a[kM];
#pragma unroll
    for (int m = 0; m < kM; ++m)
      a[m] = as_left(weights[m][n], weights[m][n + 1]);
#pragma unroll
    for (int d = 0; d < kWidth / kFragmentCols; d += 2) {
      const RightFragment b =
          right_fragment_of_columns<kWidth>(tile, n * kFragmentCols, d * kFragmentCols);
#pragma unroll
      for (int m = 0; m < kM; ++m) {
        multiply_add<0>(sums[m][d], a[m], b);
        multiply_add<1>(sums[m][d + 1], a[m], b);
      }
    }
  }
}

template <int kM, int kN>
__device__ __forceinline__ void set_zero(ResultFragment (&sums)[kM][kN]) {
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int n = 0; n < kN; ++n)
      sums[m][n] = {{0.0F, 0.0F, 0.0F, 0.0F}};
  }
}

// Value c of fragment n lies in this column and row of the fragment's 16 x 8 n.
__device__ __forceinline__ int column_in(int n, int c) {
  return n * kFragmentCols + static_cast<int>(threadIdx.x) % 4 * 2 + c % 2;
}
__device__ __forceinline__ int row_in(int c) {
  return static_cast<int>(threadIdx.x) % 32 / 4 + c / 2 * 8;
}

// Stores the values of one row of fragments times `factor`; columns from `width` on do not exist.
template <int kN>
__device__ __forceinline__ void store_row(Bf16* to, const ResultFragment (&sums)[kN], int half,
                                          float factor, std::int64_t width) {
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    const int column = column_in(n, 0);
    if (column < width) {
      *reinterpret_cast<std::uint32_t*>(to + column) =
          bf16_pair(sums[n].v[2 * half] * factor, sums[n].v[2 * half + 1] * factor);
    }
  }
}
template <int kN>
__device__ __forceinline__ void store_row(float* to, const ResultFragment (&sums)[kN], int half,
                                          float factor, std::int64_t width) {
#pragma unroll
  for (int n = 0; n < kN; ++n) {
    const int column = column_in(n, 0);
    if (column < width) {
      *reinterpret_cast<float2*>(to + column) =
          make_float2(sums[n].v[2 * half] * factor, sums[n].v[2 * half + 1] * factor);
    }
  }
}

// Calls f with the narrowest compiled width that holds heads of `width` elements, as a constant.
template <class F>
void on_head_width(std::int64_t width, const F& f) {
  if (width <= 32) return f(std::integral_constant<int, 32>{});
  if (width <= 64) return f(std::integral_constant<int, 64>{});
  if (width <= 96) return f(std::integral_constant<int, 96>{});
  return f(std::integral_constant<int, 128>{});
}

}  // namespace flash
}  // namespace gradwire::cuda
