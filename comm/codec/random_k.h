// Random-k: [0, n) is cut into k nearly equal strata, turned by a random shift, and one element of
// each is sent, so that every element has the chance k / n, or a greater one if others of its
// stratum are dead, which are never sent. Both sides draw the places from the seed: payload = seed
// (8 bytes), k values. The values are sent as they are (delta = k / n); for an unbiased mean decode
// with weight n / k. Without a residual only what is sent is kept.
#pragma once

#include "comm/codec/sparse_codec.h"

namespace gradwire {

class RandomKCodec final : public SparseCodec {
 public:
  using SparseCodec::SparseCodec;
  const char* name() const override { return "randk"; }
  bool shares_key() const override { return true; }
  std::size_t max_bytes(std::int64_t n) const override;

 private:
  std::size_t encode_values(std::span<const float> c, std::span<const std::byte> live,
                            std::uint64_t stream, std::span<std::byte> out) const override;
  void clear_sent(std::span<const std::byte> payload, std::span<const std::byte> live,
                  std::span<float> c) const override;
  void do_decode(std::span<const std::byte> in, const DecodeTarget& target) const override;
  // f(j, i): value j of the payload is element i of n. A stratum without live elements has none.
  template <class F>
  void for_each_sent(std::uint64_t stream, std::int64_t n, std::span<const std::byte> live,
                     const F& f) const;
};

}  // namespace gradwire
