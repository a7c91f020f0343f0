#include "comm/codec/block_kernels.h"
#include "comm/codec/lanes.h"
#include "core/bf16.h"
#include "core/math.h"

namespace gradwire::GW_ISA {
namespace {

constexpr std::uint32_t kLargestBf16 = 0x7F7F0000U;

// To nearest even; what would round to infinity stays the largest finite number.
std::uint32_t round_bf16(float x) {
  const std::uint32_t bits = math::bits_of(x);
  const std::uint32_t sign = bits & 0x80000000U, magnitude = bits & 0x7FFFFFFFU;
  const std::uint32_t clipped = magnitude < kLargestBf16 ? magnitude : kLargestBf16;
  return (sign | (clipped + 0x7FFFU + ((clipped >> 16) & 1U))) & 0xFFFF0000U;
}

void encode_bf16(const BlockInput& in, const BlockCode& code, float* __restrict residual) {
  std::byte* __restrict out = code.codes;
  const float* __restrict c = in.c;
  const std::int64_t n = in.padded;  // a copy: stores of bytes may alias `in`
  for (std::int64_t i = 0; i < n; ++i) {
    const auto half = static_cast<std::uint16_t>(round_bf16(c[i]) >> 16);
    memcpy(out + 2 * i, &half, sizeof half);
  }
  if (residual == nullptr) return;
  for (std::int64_t i = 0; i < n; ++i)
    residual[i] = c[i] - math::from_bits(round_bf16(c[i]));
}

bool decode_bf16(const ConstBlockCode& code, int, std::int64_t padded, float* __restrict values) {
  for (std::int64_t i = 0; i < padded; ++i) {
    std::uint16_t half;
    memcpy(&half, code.codes + 2 * i, sizeof half);
    values[i] = math::from_bits(static_cast<std::uint32_t>(half) << 16);
  }
  return true;
}

void encode_identity(const BlockInput& in, const BlockCode& code, float* __restrict residual) {
  memcpy(code.codes, in.c, static_cast<std::size_t>(in.padded) * sizeof(float));
  if (residual == nullptr) return;
  for (std::int64_t i = 0; i < in.padded; ++i)
    residual[i] = 0.0F;
}

bool decode_identity(const ConstBlockCode& code, int, std::int64_t padded, float* values) {
  memcpy(values, code.codes, static_cast<std::size_t>(padded) * sizeof(float));
  return true;
}

}  // namespace

const BlockKernels bf16_kernels{&encode_bf16, &decode_bf16};
const BlockKernels identity_kernels{&encode_identity, &decode_identity};

}  // namespace gradwire::GW_ISA
