#include <immintrin.h>

#include "core/ops/linear/bf16_dot.h"

// Compiled for x86-64-v4 with AVX512_BF16, and called only if the processor has it. As in
// *_simd.cpp files (core/simd.h), no standard containers or algorithms.
namespace gradwire::isa_v4_bf16 {
namespace {

constexpr int kVector = 16;  // f32 numbers, or pairs, of a register
constexpr int kLine = kDotLine;

std::int64_t least(std::int64_t a, std::int64_t b) {
  return a < b ? a : b;
}
__mmask16 first16(std::int64_t n) {
  return n >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1U << n) - 1U);
}
__mmask32 first32(std::int64_t n) {
  return n >= 32 ? ~__mmask32{0} : n <= 0 ? 0U : static_cast<__mmask32>((1U << n) - 1U);
}

// ---- Packing

// Pairs of two rows: those of their first 16 elements, and of their last ones.
struct Interleaver {
  __m512i low, high;
  Interleaver() {
    alignas(64) std::uint16_t from[2][kLine];
    for (int i = 0; i < kLine; ++i) {
      from[0][i] = static_cast<std::uint16_t>(i / 2 + i % 2 * kLine);
      from[1][i] = static_cast<std::uint16_t>(from[0][i] + kLine / 2);
    }
    low = _mm512_load_si512(from[0]);
    high = _mm512_load_si512(from[1]);
  }
};

// Pairs of `width` columns, a multiple of kLine, of which `count` exist. Rows that lie far apart
// are not foreseen by the processor.
void interleave_columns(DotMatrix x, std::int64_t depth, std::int64_t count, std::int64_t width,
                        std::int64_t to_ld, Bf16* to) {
  constexpr std::int64_t kAhead = 16;
  const Interleaver order;
  for (std::int64_t k = 0; k < depth; k += 2) {
    const Bf16* even = x.data + k * x.ld;
    const Bf16* odd = even + x.ld;
    Bf16* out = to + k * to_ld;
    for (std::int64_t i = 0; i < width; i += kLine) {
      __builtin_prefetch(even + kAhead * x.ld + i);
      __builtin_prefetch(odd + kAhead * x.ld + i);
      __m512i a, b;
      if (k + 1 < depth && i + kLine <= count) {
        a = _mm512_loadu_si512(even + i);
        b = _mm512_loadu_si512(odd + i);
      } else {
        const __mmask32 there = first32(count - i);
        a = _mm512_maskz_loadu_epi16(there, even + i);
        b = _mm512_maskz_loadu_epi16(k + 1 < depth ? there : __mmask32{0}, odd + i);
      }
      _mm512_storeu_si512(out + 2 * i, _mm512_permutex2var_epi16(a, order.low, b));
      _mm512_storeu_si512(out + 2 * i + kLine, _mm512_permutex2var_epi16(a, order.high, b));
    }
  }
}

void interleave(DotMatrix from, std::int64_t depth, std::int64_t count, std::int64_t to_ld,
                Bf16* to) {
  interleave_columns(from, depth, count, (count + kLine - 1) / kLine * kLine, to_ld, to);
}

void pack_columns(DotMatrix from, std::int64_t depth, std::int64_t count, Bf16* panel) {
  interleave_columns(from, depth, count, kDotCols, kDotCols, panel);
}

// Eight lines of eight pairs become eight pairs of eight lines.
[[gnu::always_inline]] inline void transpose(__m256i (&r)[8]) {
  __m256i t[8], u[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    u[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
    u[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
    u[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
    u[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2x128_si256(u[i], u[i + 4], 0x31);
  }
}

// Eight rows, of which `count` exist, into the eight columns of a panel that begin at `panel`.
void pack_eight_rows(DotMatrix x, std::int64_t depth, std::int64_t count, Bf16* panel) {
  constexpr std::int64_t kDepth = 16;
  for (std::int64_t k = 0; k < depth; k += kDepth) {
    const __mmask16 there = first16(depth - k);
    __m256i r[8];
    if (count >= 8 && k + kDepth <= depth) {
      for (int l = 0; l < 8; ++l)
        r[l] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.data + l * x.ld + k));
    } else {
      for (int l = 0; l < 8; ++l) {
        r[l] = l < count ? _mm256_maskz_loadu_epi16(there, x.data + l * x.ld + k)
                         : _mm256_setzero_si256();
      }
    }
    transpose(r);
    for (int p = 0; p < 8; ++p) {
      if (k + 2 * p >= depth) break;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(panel + (k + 2 * p) * kDotCols), r[p]);
    }
  }
}

void pack_rows(DotMatrix from, std::int64_t depth, std::int64_t count, Bf16* panel) {
  for (std::int64_t i = 0; i < kDotCols; i += 8) {
    const std::int64_t left = count - i > 0 ? count - i : 0;
    pack_eight_rows({left > 0 ? from.data + i * from.ld : from.data, from.ld}, depth, left,
                    panel + 2 * i);
  }
}

// ---- Multiplying

[[gnu::always_inline]] inline void finish(const DotBlock& g, std::int64_t row, int v, __m512 sum) {
  const std::int64_t col = std::int64_t{v} * kVector, left = g.cols - col;
  const bool whole = left >= kVector;
  const __mmask16 mask = first16(left);
  if (g.partial != nullptr) {
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, g.partial + row * g.partial_ld + col));
  }
  if (g.bias != nullptr) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(mask, g.bias + col));
  const std::int64_t at = row * g.ldc + col;
  if (g.narrow) {
    Bf16* to = static_cast<Bf16*>(g.c) + at;
    const __m256i bits = (__m256i)_mm512_cvtneps_pbh(sum);
    if (whole) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), bits);
    } else {
      _mm256_mask_storeu_epi16(to, mask, bits);
    }
  } else {
    float* to = static_cast<float*>(g.c) + at;
    if (whole) {
      _mm512_storeu_ps(to, sum);
    } else {
      _mm512_mask_storeu_ps(to, mask, sum);
    }
  }
}

// R rows and V registers of columns, whose sums stay in registers over all of k: 6 x 4 of them hide
// the latency of the instruction and leave registers for the operands, and each pair of k takes
// 6 + 4 loads for 24 multiplications. Rows that are missing repeat the last one.
template <int R, int V>
void multiply_as(const DotBlock& g) {
  __m512 sum[R][V];
  std::int64_t row_at[R];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    row_at[r] = g.a_row * least(r, g.rows - 1);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      sum[r][v] = _mm512_setzero_ps();
    // So that the stores at the end do not wait for memory one after the other.
    const std::int64_t size = g.narrow ? 2 : 4;
    const char* c = static_cast<const char*>(g.c) + least(r, g.rows - 1) * g.ldc * size;
    __builtin_prefetch(c, 1);
    __builtin_prefetch(c + (g.cols * size - 1), 1);
  }
  const Bf16* a = g.a;
  const Bf16* b = g.b;
  for (std::int64_t p = 0; p < g.pairs; ++p) {
    __m512bh cols[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      cols[v] = (__m512bh)_mm512_loadu_si512(b + 2 * kVector * v);
    // A line holds 16 pairs of a row.
    __builtin_prefetch(a + 16 * g.a_pair + p % 8 * g.a_row);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      int pair;
      __builtin_memcpy(&pair, a + row_at[r], sizeof pair);
      const __m512bh row = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        sum[r][v] = _mm512_dpbf16_ps(sum[r][v], row, cols[v]);
    }
    a += g.a_pair;
    b += 2 * kDotCols;
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    if (r < g.rows) {
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        finish(g, r, v, sum[r][v]);
    }
  }
}

template <int R>
void multiply_rows(const DotBlock& g) {
  static_assert(kDotCols == 4 * kVector);
  if (g.cols > 3 * kVector) return multiply_as<R, 4>(g);
  if (g.cols > 2 * kVector) return multiply_as<R, 3>(g);
  if (g.cols > kVector) return multiply_as<R, 2>(g);
  multiply_as<R, 1>(g);
}

void multiply(const DotBlock& g) {
  static_assert(kDotRows == 6);
  if (g.rows > 4) return multiply_rows<6>(g);
  if (g.rows > 2) return multiply_rows<4>(g);
  if (g.rows > 1) return multiply_rows<2>(g);
  multiply_rows<1>(g);
}

}  // namespace

extern const Bf16DotKernels bf16_dot_kernels;
const Bf16DotKernels bf16_dot_kernels{&multiply, &pack_columns, &pack_rows, &interleave};

}  // namespace gradwire::isa_v4_bf16
