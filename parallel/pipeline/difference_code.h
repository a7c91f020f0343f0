// The int8 code of what travels between stages: of each block of elements either the difference to
// what the receiver already has, or the values themselves, whichever has the smaller range and so
// loses less. Keeps nothing between calls: references belong to the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "comm/codec/codec.h"

namespace gradwire {

class DifferenceCode {
 public:
  // Elements that share a scale and the choice between difference and value.
  static constexpr std::int64_t kBlock = 256;

  // Of `numel` elements: a byte each, and five for a block.
  explicit DifferenceCode(std::int64_t numel);
  std::int64_t bytes() const { return bytes_; }

  // Writes the code of x and makes `reference` what decode() will make of the receiver's, bit for
  // bit, if both were equal before. With an empty reference the values themselves are sent. A block
  // with a NaN or an infinity is sent as lost, and leaves the reference as it was. `difference` is
  // scratch.
  void encode(std::span<const float> x, std::span<float> reference, std::span<float> difference,
              std::span<std::byte> out) const;
  // Brings `values` up to date: without a reference, what it held does not matter. Gives whether
  // blocks were lost. Error: kComm for bytes that no encoder writes.
  bool decode(std::span<const std::byte> in, std::span<float> values) const;
  // NaN in every block that was lost.
  void mark_lost(std::span<const std::byte> in, std::span<float> values) const;

 private:
  enum class Kind : std::uint8_t { kDifference, kValue, kLost };
  Kind take_difference(const float* x, float* reference, float* difference, std::int64_t n) const;
  std::int64_t blocks() const { return (numel_ + kBlock - 1) / kBlock; }
  template <class F>
  void for_blocks(const F& f) const;

  std::unique_ptr<Codec> codec_;
  std::int64_t numel_;
  std::int64_t bytes_;
};

}  // namespace gradwire
