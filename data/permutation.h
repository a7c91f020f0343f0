// A random order of the numbers below n that needs no memory: a Feistel network over the next power
// of four, walked until the number falls below n (Black and Rogaway, "Ciphers with arbitrary finite
// domains", CT-RSA 2002).
#pragma once

#include <bit>
#include <cstdint>

#include "core/rng.h"

namespace gradwire {

class Permutation {
 public:
  Permutation(std::uint64_t n, std::uint64_t seed)
      : n_(n),
        seed_(seed),
        half_bits_((static_cast<int>(std::bit_width(n > 1 ? n - 1 : 1)) + 1) / 2) {}

  // Where i < n goes: a bijection of [0, n) onto itself.
  std::uint64_t operator()(std::uint64_t i) const {
    do
      i = mix(i);
    while (i >= n_);
    return i;
  }

 private:
  static constexpr std::uint64_t kRounds = 6;

  std::uint64_t mix(std::uint64_t x) const {
    const std::uint64_t mask = (std::uint64_t{1} << half_bits_) - 1;
    std::uint64_t left = x >> half_bits_;
    std::uint64_t right = x & mask;
    for (std::uint64_t round = 0; round < kRounds; ++round) {
      const PhiloxBlock random = philox(seed_ + round * 0x9E3779B97F4A7C15u, right);
      const std::uint64_t next = left ^ (random.word[0] & mask);
      left = right;
      right = next;
    }
    return left << half_bits_ | right;
  }

  std::uint64_t n_;
  std::uint64_t seed_;
  int half_bits_;
};

}  // namespace gradwire
