#include "core/lanes.h"
#include "core/ops/reduce/reduce_kernels.h"

namespace gradwire::GW_ISA {
namespace {

// Sums in lanes of C stay exact enough over a block; blocks are added in double.
constexpr std::int64_t kBlock = 4096;

template <class T>
double sum(const void* x, std::int64_t n) {
  using C = Compute<T>;
  const T* in = static_cast<const T*>(x);
  double total = 0.0;
  for (std::int64_t b = 0; b < n; b += kBlock) {
    const std::int64_t e = n - b < kBlock ? n : b + kBlock;
    const C block = lane_sum<C>(e - b, [=](std::int64_t i) { return load<T>(in, b + i); });
    total += static_cast<double>(block);
  }
  return total;
}

template <class T>
double sum_of_squares(const void* x, std::int64_t n) {
  return lane_sum<double>(n, [=](std::int64_t i) {
    const double v = static_cast<double>(load<T>(x, i));
    return v * v;
  });
}

// Bit patterns, so that the test is integer work that any instruction set does in lanes.
template <class Bits>
bool none_has_full_exponent(const void* x, std::int64_t n, Bits exponent) {
  const unsigned char* bytes = static_cast<const unsigned char*>(x);
  Bits found = 0;
#pragma omp simd reduction(| : found)
  for (std::int64_t i = 0; i < n; ++i) {
    Bits bits;
    __builtin_memcpy(&bits, bytes + i * static_cast<std::int64_t>(sizeof(Bits)), sizeof bits);
    found = static_cast<Bits>(found | ((bits & exponent) == exponent ? 1u : 0u));
  }
  return found == 0;
}

bool finite_f32(const void* x, std::int64_t n) {
  return none_has_full_exponent<std::uint32_t>(x, n, 0x7F800000u);
}
bool finite_f64(const void* x, std::int64_t n) {
  return none_has_full_exponent<std::uint64_t>(x, n, std::uint64_t{0x7FF} << 52);
}
bool finite_bf16(const void* x, std::int64_t n) {
  return none_has_full_exponent<std::uint16_t>(x, n, 0x7F80u);
}

template <class T>
void sum_rows(void* acc, const void* x, std::int64_t rows, std::int64_t stride, std::int64_t cols) {
  using C = Compute<T>;
  C* __restrict out = static_cast<C*>(acc);
  const T* in = static_cast<const T*>(x);
  for (std::int64_t c = 0; c < cols; ++c)
    out[c] = C(0);
  std::int64_t r = 0;
  for (; r + 4 <= rows; r += 4) {  // four at a time: the accumulators are read a quarter as often
    const T* r0 = in + r * stride;
    const T* r1 = r0 + stride;
    const T* r2 = r1 + stride;
    const T* r3 = r2 + stride;
#pragma omp simd
    for (std::int64_t c = 0; c < cols; ++c) {
      out[c] += (static_cast<C>(r0[c]) + static_cast<C>(r1[c])) +
                (static_cast<C>(r2[c]) + static_cast<C>(r3[c]));
    }
  }
  for (; r < rows; ++r) {
    const T* row = in + r * stride;
#pragma omp simd
    for (std::int64_t c = 0; c < cols; ++c)
      out[c] += static_cast<C>(row[c]);
  }
}

template <class T>
void spread(void* y, const void* x, double factor, std::int64_t n) {
  using C = Compute<T>;
  T* __restrict out = static_cast<T*>(y);
  const C* __restrict in = static_cast<const C*>(x);
  const C f = static_cast<C>(factor);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = static_cast<T>(f * in[i]);
}

template <class T>
void set(void* y, double value, std::int64_t n) {
  T* out = static_cast<T*>(y);
  const T v = static_cast<T>(static_cast<Compute<T>>(value));
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i)
    out[i] = v;
}

}  // namespace

const ReduceKernels reduce_kernels{
    {sum<float>, sum<double>, sum<Bf16>},
    {sum_of_squares<float>, sum_of_squares<double>, sum_of_squares<Bf16>},
    {finite_f32, finite_f64, finite_bf16},
    {sum_rows<float>, sum_rows<double>, sum_rows<Bf16>},
    {spread<float>, spread<double>, spread<Bf16>},
    {set<float>, set<double>, set<Bf16>}};

}  // namespace gradwire::GW_ISA
