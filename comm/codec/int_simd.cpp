#include "comm/codec/block_kernels.h"
#include "comm/codec/lanes.h"
#include "core/math.h"

namespace gradwire::GW_ISA {
namespace {

// Blocks smaller than this are sent as zeros: their reciprocal scale would overflow.
constexpr float kTiny = 0x1p-100F;
// Scales come from at most this, so that no level times its scale rounds up to infinity.
constexpr float kHuge = 0x1.fffffp127F;

float max_abs(const float* c, std::int64_t n) {
  std::int32_t largest[kLanes] = {};  // magnitudes order like integers
  for (std::int64_t i = 0; i < n; i += kLanes)
    for (int l = 0; l < kLanes; ++l) {
      const auto bits = static_cast<std::int32_t>(math::bits_of(c[i + l]) & 0x7FFFFFFFU);
      largest[l] = bits > largest[l] ? bits : largest[l];
    }
  std::int32_t all = 0;
  for (const std::int32_t lane : largest)
    all = lane > all ? lane : all;
  return math::from_bits(static_cast<std::uint32_t>(all));
}

// q = round(levels * c / M) * (M / levels), M the largest magnitude of the block. Codes are two's
// complement in kBits bits.
template <int kBits>
void encode(const BlockInput& in, const BlockCode& code, float* __restrict residual) {
  constexpr float kRound = 12582912.0F;  // 1.5 * 2^23: adding it leaves the nearest integer below
  constexpr std::uint32_t kRoundBits = 0x4B400000U;
  const float* __restrict c = in.c;
  const std::int64_t n = in.padded;  // a copy: stores of bytes may alias `in`
  const auto levels = static_cast<float>(in.levels);
  const float found = max_abs(c, n);
  const float largest = found < kHuge ? found : kHuge;
  const float scale = largest < kTiny ? 0.0F : largest / levels;
  const float inverse = largest < kTiny ? 0.0F : levels / largest;
  *code.scale = scale;
  for (std::int64_t group = 0; group < n; group += kGroup) {
    std::uint8_t whole[kGroup];
    for (std::int64_t l = 0; l < kGroup; ++l) {
      const std::uint32_t shifted = math::bits_of(c[group + l] * inverse + kRound);
      whole[l] = static_cast<std::uint8_t>((shifted - kRoundBits) & ((1U << kBits) - 1U));
    }
    pack_codes(whole, kBits, kGroup, code.codes + group * kBits / 8);
  }
  if (residual == nullptr) return;
  for (std::int64_t i = 0; i < n; ++i) {
    const float level = (c[i] * inverse + kRound) - kRound;
    residual[i] = c[i] - level * scale;
  }
}

template <int kBits>
bool decode(const ConstBlockCode& code, int, std::int64_t padded, float* __restrict values) {
  const float scale = *code.scale;
  for (std::int64_t group = 0; group < padded; group += kGroup) {
    std::uint8_t whole[kGroup];
    unpack_codes(code.codes + group * kBits / 8, kBits, kGroup, whole);
    for (std::int64_t l = 0; l < kGroup; ++l) {
      const auto level = static_cast<std::int8_t>(whole[l] << (8 - kBits)) >> (8 - kBits);
      values[group + l] = static_cast<float>(level) * scale;
    }
  }
  return true;
}

}  // namespace

const BlockKernels int8_kernels{&encode<8>, &decode<8>};
const BlockKernels int4_kernels{&encode<4>, &decode<4>};

}  // namespace gradwire::GW_ISA
