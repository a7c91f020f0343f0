#include "core/ops/linear/linear_kernels.h"

namespace gradwire::GW_ISA {
namespace {

void widen(const Bf16* src, std::int64_t src_ld, float* dst, std::int64_t dst_ld, std::int64_t rows,
           std::int64_t cols) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const Bf16* from = src + r * src_ld;
    float* to = dst + r * dst_ld;
#pragma omp simd
    for (std::int64_t c = 0; c < cols; ++c) {
      to[c] = static_cast<float>(from[c]);
    }
  }
}

void narrow(const float* src, std::int64_t src_ld, Bf16* dst, std::int64_t dst_ld,
            std::int64_t rows, std::int64_t cols) {
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* from = src + r * src_ld;
    Bf16* to = dst + r * dst_ld;
#pragma omp simd
    for (std::int64_t c = 0; c < cols; ++c) {
      to[c] = Bf16(from[c]);
    }
  }
}

void round(const float* src, float* dst, std::int64_t n) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    dst[i] = static_cast<float>(Bf16(src[i]));
  }
}

template <class T>
void add_bias(T* x, std::int64_t ld, const T* bias, std::int64_t rows, std::int64_t cols) {
  for (std::int64_t r = 0; r < rows; ++r) {
    T* row = x + r * ld;
#pragma omp simd
    for (std::int64_t c = 0; c < cols; ++c) {
      row[c] += bias[c];
    }
  }
}

// Two levels of sums, rows of a block and then blocks, keep the rounding error of long columns low.
template <class T, class Acc>
void column_sums(const T* x, std::int64_t rows, std::int64_t ld, float beta, Acc* out,
                 std::int64_t begin, std::int64_t end) {
  constexpr std::int64_t kColumns = 64, kRows = 128;
  for (std::int64_t c0 = begin; c0 < end; c0 += kColumns) {
    const std::int64_t cols = end - c0 < kColumns ? end - c0 : kColumns;
    Acc total[kColumns] = {};
    for (std::int64_t r0 = 0; r0 < rows; r0 += kRows) {
      const std::int64_t stop = rows - r0 < kRows ? rows : r0 + kRows;
      Acc sum[kColumns] = {};
      for (std::int64_t r = r0; r < stop; ++r) {
        const T* row = x + r * ld + c0;
#pragma omp simd
        for (std::int64_t c = 0; c < cols; ++c) {
          sum[c] += static_cast<Acc>(row[c]);
        }
      }
      for (std::int64_t c = 0; c < cols; ++c) {
        total[c] += sum[c];
      }
    }
    for (std::int64_t c = 0; c < cols; ++c) {
      out[c0 + c] = beta == 0.0F ? total[c] : out[c0 + c] + total[c];
    }
  }
}

}  // namespace

const LinearKernels linear_kernels{&widen,
                                   &narrow,
                                   &round,
                                   &add_bias<float>,
                                   &add_bias<double>,
                                   &column_sums<float, float>,
                                   &column_sums<double, double>,
                                   &column_sums<Bf16, float>};

}  // namespace gradwire::GW_ISA
