// exp, log, tanh and erf that a compiler can vectorise: float is a branch-free polynomial within
// two units in the last place, with infinities and NaN as in the C library and the same bits for
// every instruction set; double calls the C library, and so does device code. Coefficients are
// minimax fits (Remez) of the functions named beside them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "core/hd.h"

namespace gradwire::math {

GW_HD std::uint32_t bits_of(float x) {
  std::uint32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
GW_HD float from_bits(std::uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// ok ? a : b without a branch: compilers that must assume trapping arithmetic keep the branch of a
// conditional expression, and then leave the loop around it scalar.
GW_HD float select(bool ok, float a, float b) {
  const std::uint32_t mask = 0U - static_cast<std::uint32_t>(ok);
  return from_bits((bits_of(a) & mask) | (bits_of(b) & ~mask));
}

GW_HD double select(bool ok, double a, double b) {
  return ok ? a : b;
}

GW_HD double exp(double x) {
  return ::exp(x);
}
GW_HD double log(double x) {
  return ::log(x);
}
GW_HD double tanh(double x) {
  return ::tanh(x);
}
GW_HD double erf(double x) {
  return ::erf(x);
}

#if defined(__CUDA_ARCH__)
GW_HD float exp(float x) {
  return ::expf(x);
}
GW_HD float log(float x) {
  return ::logf(x);
}
GW_HD float tanh(float x) {
  return ::tanhf(x);
}
GW_HD float erf(float x) {
  return ::erff(x);
}
#else

// a * b + c, rounded once, for finite values; as every processor from x86-64-v3 on computes it. The
// polynomials below are made of it, so that they give the same bits on those before, which only
// take longer.
GW_HD float fma(float a, float b, float c) {
#if defined(__FMA__)
  return __builtin_fmaf(a, b, c);
#else
  // The product is exact in double. A sum that is not is cut off and gets an odd last bit, so that
  // rounding it again, to float, gives what one rounding would (Boldo and Melquiond, "Emulation of
  // FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE Transactions on
  // Computers 2008).
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double wide = static_cast<double>(c);
  double sum = product + wide;
  const double back = sum - product;
  const double error = (product - (sum - back)) + (wide - back);  // Knuth's two-sum: exact
  std::uint64_t bits, error_bits;
  memcpy(&bits, &sum, sizeof bits);
  memcpy(&error_bits, &error, sizeof error_bits);
  const std::uint64_t size = error_bits << 1;  // zero only for an error of zero
  const std::uint64_t inexact = (size | (0U - size)) >> 63;
  bits = (bits - (((bits ^ error_bits) >> 63) & inexact)) | inexact;
  memcpy(&sum, &bits, sizeof bits);
  return static_cast<float>(sum);
#endif
}

// e^x = 2^n e^r, |r| <= ln(2) / 2.
GW_HD float exp(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest integer below
  constexpr float kLog2E = 1.44269504F;
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  constexpr std::uint32_t kLimit = 0x42D00000U, kInfinity = 0x7F800000U;  // 104
  const std::uint32_t size = bits_of(x) & 0x7FFFFFFFU;
  const float limit = from_bits(kLimit | (bits_of(x) & 0x80000000U));
  const float clamped = select(size - kLimit <= kInfinity - kLimit, limit, x);  // NaN stays
  const float shifted = fma(clamped, kLog2E, kRound);
  const float n = shifted - kRound;
  const float r = fma(-n, kLn2Low, fma(-n, kLn2High, clamped));
  float q = 0.00138131448F;  // (e^r - 1 - r) / r^2
  q = fma(q, r, 0.00836941879F);
  q = fma(q, r, 0.041668456F);
  q = fma(q, r, 0.166665152F);
  q = fma(q, r, 0.49999994F);
  const float p = fma(q * r, r, r) + 1.0F;
  // 2^n in two factors, so that results below the smallest normal number round as they should.
  const std::int32_t whole = static_cast<std::int32_t>(bits_of(shifted) - 0x4B400000U);
  const std::int32_t half = whole >> 1;
  const float scale_a = from_bits(static_cast<std::uint32_t>(half + 127) << 23);
  const float scale_b = from_bits(static_cast<std::uint32_t>(whole - half + 127) << 23);
  return p * scale_a * scale_b;
}

// log x = k ln 2 + log(1 + f), 1 + f in [sqrt(1/2), sqrt(2)).
GW_HD float log(float x) {
  constexpr float kSmallestNormal = 1.17549435e-38F, kInfinity = __builtin_huge_valf();
  constexpr float kLn2High = 0.693359375F, kLn2Low = -2.12194440e-4F;
  const bool subnormal = x < kSmallestNormal;
  const float normal = select(subnormal, x * 8388608.0F, x);
  const std::uint32_t moved = bits_of(normal) - 0x3F3504F3U;  // sqrt(1/2)
  const std::int32_t exponent = static_cast<std::int32_t>(moved) >> 23;
  const float k = static_cast<float>(exponent) - select(subnormal, 23.0F, 0.0F);
  const float f = from_bits((moved & 0x007FFFFFU) + 0x3F3504F3U) - 1.0F;
  float q = 0.0691554099F;  // (log(1 + f) - f + f^2 / 2) / f^3
  q = fma(q, f, -0.117898658F);
  q = fma(q, f, 0.118729264F);
  q = fma(q, f, -0.12384335F);
  q = fma(q, f, 0.142186642F);
  q = fma(q, f, -0.166692525F);
  q = fma(q, f, 0.200022265F);
  q = fma(q, f, -0.249999866F);
  q = fma(q, f, 0.333333105F);
  const float f2 = f * f;
  const float tail = fma(-0.5F, f2, fma(k, kLn2Low, q * f2 * f));
  const float finite = fma(k, kLn2High, tail + f);
  const float edge = select(x < kInfinity, -kInfinity, x);  // zero; infinity and NaN stay
  const float result = select((x > 0.0F) & (x < kInfinity), finite, edge);
  return select(x < 0.0F, __builtin_nanf(""), result);
}

GW_HD float tanh(float x) {
  const float t = __builtin_fabsf(x);
  const float s = x * x;
  float q = -0.00583032472F;  // (tanh(x) / x - 1) / x^2, |x| < 0.61
  q = fma(q, s, 0.0207449626F);
  q = fma(q, s, -0.0537702441F);
  q = fma(q, s, 0.133317843F);
  q = fma(q, s, -0.333332926F);
  const float near = fma(q * s, t, t);
  const float far = 1.0F - 2.0F / (exp(2.0F * t) + 1.0F);
  return __builtin_copysignf(select(t < 0.61F, near, far), x);
}

GW_HD float erf(float x) {
  const float t = __builtin_fabsf(x);
  const float s = x * x;
  float q = 8.26746182e-05F;  // erf(x) / x - 1, |x| < 0.9375
  q = fma(q, s, -0.00081180752F);
  q = fma(q, s, 0.00519882981F);
  q = fma(q, s, -0.0268584974F);
  q = fma(q, s, 0.112836793F);
  q = fma(q, s, -0.376126319F);
  q = fma(q, s, 0.128379166F);
  const float near = fma(q, t, t);
  const float c = select(t > 4.1F, 4.1F, t);  // erf is 1 to the last bit from there on
  float e = -0.000198219612F;                 // -log(erfc(x)), 0.9 < x < 4.1
  e = fma(e, c, 0.00306548993F);
  e = fma(e, c, -0.0223152116F);
  e = fma(e, c, 0.104113676F);
  e = fma(e, c, 0.636976063F);
  e = fma(e, c, 1.12779725F);
  e = fma(e, c, 0.000166448022F);
  const float far = 1.0F - exp(-e);
  return __builtin_copysignf(select(t < 0.9375F, near, far), x);
}

#endif

}  // namespace gradwire::math
