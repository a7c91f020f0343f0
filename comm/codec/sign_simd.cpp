#include "comm/codec/block_kernels.h"
#include "comm/codec/lanes.h"
#include "core/math.h"

namespace gradwire::GW_ISA {
namespace {

// q = mean |c| * sign(c), the scale that is best in least squares; sign(0) = +1. The l2 norm over
// sqrt(n), which others send, is no contraction for heavy tails.
void encode(const BlockInput& in, const BlockCode& code, float* __restrict residual) {
  const float* __restrict c = in.c;
  const std::int64_t n = in.padded;  // a copy: stores of bytes may alias `in`
  const double norm1 =
      lane_sum(n, [c](std::int64_t i) { return static_cast<double>(__builtin_fabsf(c[i])); });
  const float scale = static_cast<float>(norm1 / static_cast<double>(in.count));
  *code.scale = scale;
  for (std::int64_t i = 0; i < n; i += kGroup) {
    const std::uint64_t bits = non_negative_bits(c + i);
    memcpy(code.codes + i / 8, &bits, sizeof bits);
  }
  if (residual == nullptr) return;
  for (std::int64_t i = 0; i < n; ++i)
    residual[i] = c[i] - math::select(c[i] >= 0.0F, scale, -scale);
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

}  // namespace

const BlockKernels sign_kernels{&encode, &decode};

}  // namespace gradwire::GW_ISA
