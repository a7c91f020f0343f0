// The two loops that make a block codec, and what they get. A kernel sees one block of at most
// kMaxBlock values in the first-level cache, padded with zeros to a multiple of 64, and code
// buffers padded likewise; where a block lies in the payload is BlockCodec's business.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/codec/input_kernels.h"
#include "core/simd.h"

namespace gradwire {

inline constexpr std::int64_t kMaxBlock = 4096;

struct BlockInput {
  const float* c = nullptr;
  std::int64_t padded = 0;
  std::int64_t count = 0;    // the elements that are not padding, and not dead
  int levels = 0;            // of quantizers: the largest code
  std::uint64_t stream = 0;  // of random numbers
  std::int64_t first = 0;    // the tensor's index of c[0], a multiple of 64
  double norm1 = 0.0;        // the sum of magnitudes, for formats that ask for it
};

// The parts of one block's code; null if the codec has none.
template <class Byte, class Float>
struct BlockCodeOf {
  Float* scale = nullptr;
  Byte* codes = nullptr;
  Byte* signs = nullptr;
};
using BlockCode = BlockCodeOf<std::byte, float>;
using ConstBlockCode = BlockCodeOf<const std::byte, const float>;

struct BlockKernels {
  // Writes the code of a block of finite values and, unless `residual` is null, c - decoded.
  void (*encode)(const BlockInput& in, const BlockCode& code, float* residual);
  // False: bytes that no encoder writes.
  bool (*decode)(const ConstBlockCode& code, int levels, std::int64_t padded, float* values);
  // As InputKernels::load with a momentum that this is the code of; n a multiple of 64. Null: it is
  // decoded first.
  bool (*load_coded)(const BlockSource& source, const ConstBlockCode& momentum, std::int64_t n,
                     float* c, double* norm1) = nullptr;
};
GW_DECLARE_KERNELS(BlockKernels, sign_kernels);
GW_DECLARE_KERNELS(BlockKernels, int8_kernels);
GW_DECLARE_KERNELS(BlockKernels, int4_kernels);
GW_DECLARE_KERNELS(BlockKernels, qsgd_kernels);
GW_DECLARE_KERNELS(BlockKernels, natural_kernels);
GW_DECLARE_KERNELS(BlockKernels, bf16_kernels);
GW_DECLARE_KERNELS(BlockKernels, identity_kernels);

}  // namespace gradwire
