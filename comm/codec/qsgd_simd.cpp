#include "comm/codec/block_kernels.h"
#include "comm/codec/lanes.h"
#include "comm/codec/random_lanes.h"
#include "core/math.h"

namespace gradwire::GW_ISA {
namespace {

constexpr float kTiny = 0x1p-100F;  // smaller blocks are sent as zeros: 1 / norm would overflow
constexpr float kHuge = 0x1.fffffp127F;  // beyond it a level times the step could be infinite

int bits_of_levels(int levels) {
  return levels == 127 ? 8 : levels == 7 ? 4 : 2;
}

// Clipping is harmless: any scale not below the magnitudes leaves the rounding unbiased.
float norm_of(const float* c, std::int64_t n) {
  const double square = lane_sum<double>(
      n, [c](std::int64_t i) { return static_cast<double>(c[i]) * static_cast<double>(c[i]); });
  const double norm = __builtin_sqrt(square);
  return norm > static_cast<double>(kHuge) ? kHuge : static_cast<float>(norm);
}

// QSGD (Alistarh et al., NeurIPS 2017, section 3.1): |c| s / norm is rounded up with the
// probability of its fraction. A code is the level below a sign bit.
void encode(const BlockInput& in, const BlockCode& code, float* __restrict residual) {
  const float* __restrict c = in.c;
  const std::int64_t n = in.padded;  // a copy: stores of bytes may alias `in`
  const auto levels = static_cast<float>(in.levels);
  const int bits = bits_of_levels(in.levels);
  const float norm = norm_of(c, n);
  const float scale = norm < kTiny ? 0.0F : norm;
  const float inverse = norm < kTiny ? 0.0F : levels / norm;
  const float step = scale / levels;
  *code.scale = scale;
  for (std::int64_t group = 0; group < n; group += kGroup) {
    std::uint8_t whole[kGroup];
    std::uint32_t words[kGroup];
    random_words(in.stream, in.first + group, words);
    float level[kGroup];
    for (std::int64_t l = 0; l < kGroup; ++l) {
      const float exact = __builtin_fabsf(c[group + l]) * inverse;
      const auto below = static_cast<float>(static_cast<std::int32_t>(exact));
      const float up = math::select(to_uniform(words[l]) < exact - below, 1.0F, 0.0F);
      level[l] = math::select(below + up < levels, below + up, levels);
      const std::uint32_t sign = math::bits_of(c[group + l]) >> 31;
      whole[l] =
          static_cast<std::uint8_t>(static_cast<std::uint32_t>(level[l]) | sign << (bits - 1));
    }
    pack_codes(whole, bits, kGroup, code.codes + group * bits / 8);
    if (residual == nullptr) continue;
    for (std::int64_t l = 0; l < kGroup; ++l)
      residual[group + l] = c[group + l] - __builtin_copysignf(level[l] * step, c[group + l]);
  }
}

bool decode(const ConstBlockCode& code, int levels, std::int64_t padded, float* __restrict values) {
  const float step = *code.scale / static_cast<float>(levels);
  const int bits = bits_of_levels(levels);
  for (std::int64_t group = 0; group < padded; group += kGroup) {
    std::uint8_t whole[kGroup];
    unpack_codes(code.codes + group * bits / 8, bits, kGroup, whole);
    for (std::int64_t l = 0; l < kGroup; ++l) {
      const std::uint32_t sign = static_cast<std::uint32_t>(whole[l]) >> (bits - 1) << 31;
      const auto level = static_cast<float>(whole[l] & ((1 << (bits - 1)) - 1));
      values[group + l] = math::from_bits(math::bits_of(level * step) | sign);
    }
  }
  return true;
}

}  // namespace

const BlockKernels qsgd_kernels{&encode, &decode};

}  // namespace gradwire::GW_ISA
