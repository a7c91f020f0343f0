#include "comm/codec/lanes.h"
#include "comm/reducer/low_rank_kernels.h"

namespace gradwire::GW_ISA {
namespace {

static_assert(LowRankKernels::kDoubles % kLanes == 0);

// A vector type keeps the sums in registers; the compiler splits it where they are narrower.
constexpr int kWide = 16;
using Wide = float __attribute__((vector_size(kWide * sizeof(float))));
// The same in memory, at any address of a float.
using WideAt = float __attribute__((vector_size(kWide * sizeof(float)), aligned(4), may_alias));

// Lane l takes i = l, l + 16, ..., and lanes are joined in halves.
template <int kCount>
void dots_of(const float* x, const float* const* y, std::int64_t n, float* out) {
  const float* from[kCount];
  Wide sum[kCount] = {};
  for (int k = 0; k < kCount; ++k)
    from[k] = y[k];
  const std::int64_t whole = n / kWide * kWide;
  for (std::int64_t i = 0; i < whole; i += kWide) {
    const Wide a = *reinterpret_cast<const WideAt*>(x + i);
    for (int k = 0; k < kCount; ++k)
      sum[k] += a * *reinterpret_cast<const WideAt*>(from[k] + i);
  }
  for (int k = 0; k < kCount; ++k) {
    float lane[kWide];
    memcpy(lane, &sum[k], sizeof lane);
    for (std::int64_t i = whole; i < n; ++i)
      lane[i - whole] += x[i] * from[k][i];
    for (int half = kWide / 2; half > 0; half /= 2)
      for (int l = 0; l < half; ++l)
        lane[l] += lane[l + half];
    out[k] = lane[0];
  }
}

void dots(const float* x, const float* const* y, int count, std::int64_t n, float* out) {
  switch (count) {
    case 1: return dots_of<1>(x, y, n, out);
    case 2: return dots_of<2>(x, y, n, out);
    case 3: return dots_of<3>(x, y, n, out);
    default: return dots_of<4>(x, y, n, out);
  }
}

template <int kCount, bool kAdd>
void combine_of(const float* c, const float* const* x, std::int64_t n, float* __restrict y) {
  const float* from[kCount];
  float factor[kCount];
  for (int k = 0; k < kCount; ++k) {
    from[k] = x[k];
    factor[k] = c[k];
  }
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    float sum = kAdd ? y[i] : 0.0F;
    for (int k = 0; k < kCount; ++k)
      sum += factor[k] * from[k][i];
    y[i] = sum;
  }
}

template <bool kAdd>
void combine_count(const float* c, const float* const* x, int count, std::int64_t n, float* y) {
  switch (count) {
    case 1: return combine_of<1, kAdd>(c, x, n, y);
    case 2: return combine_of<2, kAdd>(c, x, n, y);
    case 3: return combine_of<3, kAdd>(c, x, n, y);
    default: return combine_of<4, kAdd>(c, x, n, y);
  }
}

void combine(bool add, const float* c, const float* const* x, int count, std::int64_t n, float* y) {
  if (add) {
    combine_count<true>(c, x, count, n, y);
  } else {
    combine_count<false>(c, x, count, n, y);
  }
}

double dot(const double* a, const double* b, std::int64_t n) {
  return lane_sum<double>(n, [&](std::int64_t i) { return a[i] * b[i]; });
}

void subtract(double c, const double* __restrict x, std::int64_t n, double* __restrict y) {
  for (std::int64_t i = 0; i < n; ++i)
    y[i] -= c * x[i];
}

}  // namespace

const LowRankKernels low_rank_kernels{&dots, &combine, &dot, &subtract};

}  // namespace gradwire::GW_ISA
