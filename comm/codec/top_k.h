// Top-k: the k elements of largest magnitude, exactly; of equal magnitudes the first come first,
// and zeros are never sent. Payload: count and format (u32 each); for each segment of 65536
// elements where its values end (u32); the values in order of their places; then their places, by
// what is shorter: 16-bit indices within the segment, or a bitmap of all elements. Both codings can
// be written and read segment by segment in parallel.
#pragma once

#include "comm/codec/sparse_codec.h"

namespace gradwire {

class TopKCodec final : public SparseCodec {
 public:
  using SparseCodec::SparseCodec;
  const char* name() const override { return "topk"; }
  std::size_t max_bytes(std::int64_t n) const override;

 private:
  std::size_t encode_values(std::span<const float> c, std::span<const std::byte> live,
                            std::uint64_t stream, std::span<std::byte> out) const override;
  void clear_sent(std::span<const std::byte> payload, std::span<const std::byte> live,
                  std::span<float> c) const override;
  void do_decode(std::span<const std::byte> in, const DecodeTarget& target) const override;
};

}  // namespace gradwire
