// IEEE half precision (binary16) as it stands in files: bits to f32, exactly, and back, rounded to
// nearest even; what is too large becomes infinite. No arithmetic: convert to float and compute.
#pragma once

#include <bit>
#include <cstdint>

namespace gradwire {

inline float f16_to_float(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: a multiple of 2^-24
    const float size = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(size));
  }
  const std::uint32_t wide = exponent == 0x1F ? 0xFFU : exponent + 112;  // 112: bias 127 less 15
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

inline std::uint16_t float_to_f16(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
  const std::uint32_t size = bits & 0x7FFFFFFFU;
  const auto with_sign = [sign](std::uint32_t half) {
    return static_cast<std::uint16_t>(sign | half);
  };
  if (size > 0x7F800000U) return with_sign(0x7E00U | ((size >> 13) & 0x3FFU));  // NaN, made quiet
  if (size >= 0x47800000U) return with_sign(0x7C00U);                           // 2^16 and more
  if (size < 0x38800000U) {  // below 2^-14: the unit of 0.5 is 2^-24, so that the sum rounds
    const float rounded = std::bit_cast<float>(size) + 0.5F;
    return with_sign(std::bit_cast<std::uint32_t>(rounded) - 0x3F000000U);
  }
  const std::uint32_t nearest_even = size + 0xFFFU + ((size >> 13) & 1U);
  return with_sign((nearest_even - (112U << 23)) >> 13);
}

}  // namespace gradwire
