// Codecs that cut a tensor into blocks whose codes have fixed places in the payload: all but top-k
// and random-k. Such a codec is a format and two kernels. Blocks are encoded in parallel, each in
// one pass: what goes in is put together, quantized and turned into the new residual while it is in
// the first-level cache. Payload: scales (float per block), codes, signs (a bit per element).
#pragma once

#include "comm/codec/block_kernels.h"
#include "comm/codec/codec.h"

namespace gradwire {

struct BlockFormat {
  const char* name = "";
  std::int64_t block = kMaxBlock;  // elements; a multiple of 64
  bool scaled = false;
  int code_bits = 8;     // per element: 1, 2, 4, 8, 16 or 32
  bool signed_ = false;  // a further bit per element
  bool norm1 = false;    // the kernels want BlockInput::norm1
  bool zero = true;      // there is a code for it
  int levels = 0;        // for the kernels
  bool fast = false;     // Codec::reads_fast(), as bench/codec_bench finds it
  double delta = 1.0;    // Codec::delta_hint()
};

class BlockCodec final : public Codec {
 public:
  BlockCodec(const BlockFormat& format, const BlockKernels& kernels);
  const char* name() const override { return format_.name; }
  std::size_t max_bytes(std::int64_t n) const override;
  double delta_hint(std::int64_t) const override { return format_.delta; }
  bool keeps_zero() const override { return format_.zero; }
  bool shares_scales() const override { return format_.scaled; }
  bool has_blocks() const override { return true; }
  bool reads_fast() const override { return format_.fast; }

 private:
  // Where the parts of a payload of n elements begin, and the block that is looked at.
  struct Place {
    std::int64_t begin = 0;                       // of the block's elements
    std::int64_t count = 0;                       // of the block
    std::int64_t padded = 0;                      // count, rounded up to whole groups
    std::size_t scale = 0, codes = 0, signs = 0;  // byte offsets
    std::size_t code_bytes = 0, sign_bytes = 0;
  };
  Place place_of(std::int64_t block, std::int64_t n) const;
  Place part_of(const Place& block, std::int64_t first) const;
  std::int64_t blocks_of(std::int64_t n) const { return (n + format_.block - 1) / format_.block; }
  // Blocks of one parallel chunk.
  std::int64_t grain() const { return std::int64_t{1 << 16} / format_.block; }

  std::size_t do_encode(const CodecInput& in, std::uint64_t stream,
                        std::span<std::byte> out) const override;
  void do_decode(std::span<const std::byte> in, const DecodeTarget& target) const override;
  bool encode_block(const CodecInput& in, std::uint64_t stream, const Place& at,
                    std::span<std::byte> out) const;
  bool load_block(const CodecInput& in, const Place& at, float* c, double* norm1) const;
  void decode_block(std::span<const std::byte> in, const Place& at,
                    const DecodeTarget& target) const;
  // The same, for a small piece and a target that is told of it.
  void decode_and_tell(std::span<const std::byte> in, const Place& at,
                       const DecodeTarget& target) const;
  // The code of a whole group or of many; `scale` is room for its scale.
  ConstBlockCode code_at(std::span<const std::byte> in, const Place& at, float& scale) const;
  // All of a block's values, and what the padding decodes to.
  void unpack(std::span<const std::byte> in, const Place& at, float* values) const;

  BlockFormat format_;
  const BlockKernels& kernels_;
};

}  // namespace gradwire
