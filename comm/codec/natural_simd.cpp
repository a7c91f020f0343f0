#include "comm/codec/block_kernels.h"
#include "comm/codec/lanes.h"
#include "comm/codec/random_lanes.h"
#include "core/math.h"

namespace gradwire::GW_ISA {
namespace {

constexpr std::uint32_t kLargestExponent = 254;

// Natural compression (Horvath et al., "Natural compression for distributed deep learning", MSML
// 2022): the magnitude becomes one of the two neighbouring powers of two, the upper one with the
// probability of the mantissa. That is a carry out of mantissa + random bits; subnormal numbers
// come out right by the same addition. A code is the exponent; from 2^127 on it stays there.
void encode(const BlockInput& in, const BlockCode& code, float* __restrict residual) {
  const float* __restrict c = in.c;
  const std::int64_t n = in.padded;  // a copy: stores of bytes may alias `in`
  auto* __restrict codes = reinterpret_cast<std::uint8_t*>(code.codes);
  for (std::int64_t group = 0; group < n; group += kGroup) {
    std::uint32_t words[kGroup];
    random_words(in.stream, in.first + group, words);
    std::uint32_t exponent[kGroup];
    for (std::int64_t l = 0; l < kGroup; ++l) {
      const std::uint32_t magnitude = math::bits_of(c[group + l]) & 0x7FFFFFFFU;
      const std::uint32_t rounded = (magnitude + (words[l] >> 9)) >> 23;
      exponent[l] = rounded < kLargestExponent ? rounded : kLargestExponent;
    }
    for (std::int64_t l = 0; l < kGroup; ++l)
      codes[group + l] = static_cast<std::uint8_t>(exponent[l]);
    const std::uint64_t signs = non_negative_bits(c + group);
    memcpy(code.signs + group / 8, &signs, sizeof signs);
    if (residual == nullptr) continue;
    for (std::int64_t l = 0; l < kGroup; ++l) {
      const float power = math::from_bits(exponent[l] << 23);
      residual[group + l] = c[group + l] - math::select(c[group + l] < 0.0F, -power, power);
    }
  }
}

bool decode(const ConstBlockCode& code, int, std::int64_t padded, float* __restrict values) {
  const auto* __restrict codes = reinterpret_cast<const std::uint8_t*>(code.codes);
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < padded; i += 32) {
    std::uint32_t sign[32];
    unpack_signs(load_u32(code.signs + i / 8), sign);
    for (int l = 0; l < 32; ++l) {
      const std::uint32_t exponent = codes[i + l];
      largest = exponent > largest ? exponent : largest;
      values[i + l] = math::from_bits(exponent << 23 | sign[l]);
    }
  }
  return largest <= kLargestExponent;
}

}  // namespace

const BlockKernels natural_kernels{&encode, &decode};

}  // namespace gradwire::GW_ISA
