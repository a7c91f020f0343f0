// What top-k and random-k share: some elements are sent as they are, the rest stays in the
// residual, so that decode(encode(c)) + residual == c exactly.
#pragma once

#include "comm/codec/codec.h"

namespace gradwire {

// Bit i of little-endian bits.
inline bool bit_of(std::span<const std::byte> bits, std::size_t i) {
  return (static_cast<unsigned>(bits[i / 8]) >> (i % 8) & 1U) != 0;
}

// Puts single values where a target wants them; elements that get none are zero, or stay if values
// are added.
class SparseWriter {
 public:
  explicit SparseWriter(const DecodeTarget& target);
  void put(std::int64_t i, float value) const {
    const auto at = static_cast<std::size_t>(i);
    if (!target_.live.empty() && !is_live(at)) return;
    float& to = target_.to[at];
    to = target_.add ? to + target_.weight * value : value;
  }

 private:
  bool is_live(std::size_t i) const { return bit_of(target_.live, i); }
  DecodeTarget target_;
};

class SparseCodec : public Codec {
 public:
  explicit SparseCodec(double ratio);
  double delta_hint(std::int64_t n) const final;

 protected:
  // Elements to send: ratio * n to the nearest, at least one.
  std::int64_t count_of(std::int64_t n) const;

 private:
  // Encodes finite values, already put together.
  virtual std::size_t encode_values(std::span<const float> c, std::span<const std::byte> live,
                                    std::uint64_t stream, std::span<std::byte> out) const = 0;
  // Zeros the elements that a payload of our own holds.
  virtual void clear_sent(std::span<const std::byte> payload, std::span<const std::byte> live,
                          std::span<float> c) const = 0;

  std::size_t do_encode(const CodecInput& in, std::uint64_t stream,
                        std::span<std::byte> out) const final;

  double ratio_;
};

}  // namespace gradwire
