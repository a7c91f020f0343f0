#include "comm/codec/block_kernels.h"
#include "comm/codec/lanes.h"
#include "comm/codec/load_lanes.h"
#include "core/math.h"

namespace gradwire::GW_ISA {
namespace {

// q = mean |c| * sign(c), the scale that is best in least squares; sign(0) = +1. The l2 norm over
// sqrt(n), which others send, is no contraction for heavy tails.
void encode(const BlockInput& in, const BlockCode& code, float* __restrict residual) {
  const float* __restrict c = in.c;
  const std::int64_t n = in.padded;  // a copy: stores of bytes may alias `in`
  const float scale = static_cast<float>(in.norm1 / static_cast<double>(in.count));
  *code.scale = scale;
  for (std::int64_t i = 0; i < n; i += kGroup) {
    const std::uint64_t bits = non_negative_bits(c + i);
    memcpy(code.codes + i / 8, &bits, sizeof bits);
    if (residual == nullptr) continue;
    for (std::int64_t l = i; l < i + kGroup; ++l)
      residual[l] = c[l] - math::select(c[l] >= 0.0F, scale, -scale);
  }
}

bool decode(const ConstBlockCode& code, int, std::int64_t padded, float* __restrict values) {
  const std::uint32_t scale = math::bits_of(*code.scale);
  for (std::int64_t i = 0; i < padded; i += 32) {
    std::uint32_t sign[32];
    unpack_signs(load_u32(code.codes + i / 8), sign);
    for (int l = 0; l < 32; ++l)
      values[i + l] = math::from_bits(scale | sign[l]);
  }
  return true;
}

// The momentum's signs and scale never become an array of floats.
bool load_coded(const BlockSource& source, const ConstBlockCode& momentum, std::int64_t n, float* c,
                double* norm1) {
  const float* __restrict x = source.x;
  const float* __restrict e = source.residual;
  const std::byte* __restrict codes = momentum.codes;
  const std::uint32_t scale = math::bits_of(source.beta * *momentum.scale);
  const float new_part = (1.0F - source.beta) * source.weight;
  return load_with_norm1(n, c, norm1, x, e, [=](std::int64_t i, int l) {
    const std::uint32_t negative = ~load_u32(codes + (i - l) / 8);
    const std::uint32_t sign = (negative << (31 - l)) & 0x80000000U;
    return (math::from_bits(scale | sign) + new_part * x[i]) + e[i];
  });
}

}  // namespace

const BlockKernels sign_kernels{&encode, &decode, &load_coded};

}  // namespace gradwire::GW_ISA
