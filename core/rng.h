// Counter-based random numbers (Philox 4x32-10; Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011): number i of a stream is a pure function of (seed, i), so it is the same on
// every device and for any thread count, and a replay needs no stored state but (seed, offset).
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "core/hd.h"

namespace gradwire {

struct PhiloxBlock {
  std::uint32_t word[4];
};

// The four 32-bit words of block `counter` of stream `seed`.
GW_HD PhiloxBlock philox(std::uint64_t seed, std::uint64_t counter) {
  std::uint32_t c0 = static_cast<std::uint32_t>(counter);
  std::uint32_t c1 = static_cast<std::uint32_t>(counter >> 32);
  std::uint32_t c2 = 0, c3 = 0;
  std::uint32_t k0 = static_cast<std::uint32_t>(seed);
  std::uint32_t k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = static_cast<std::uint64_t>(0xD2511F53u) * c0;
    const std::uint64_t p1 = static_cast<std::uint64_t>(0xCD9E8D57u) * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

// Word i of the stream.
GW_HD std::uint32_t random_word(std::uint64_t seed, std::uint64_t i) {
  return philox(seed, i >> 2).word[i & 3];
}

// In [0, 1), on the grid of 2^-24: exact in float.
GW_HD float to_uniform(std::uint32_t word) {
  return static_cast<float>(word >> 8) * 5.9604644775390625e-8f;
}

// A stream of random numbers with a place in it.
struct Rng {
  std::uint64_t seed = 0;
  std::uint64_t offset = 0;

  // Reserves n numbers and says where they begin; aligned, so that a kernel may use whole blocks.
  std::uint64_t take(std::uint64_t n) {
    const std::uint64_t first = offset;
    offset += (n + 3) & ~std::uint64_t{3};
    return first;
  }
};

// An independent seed for (seed, salt): steps, ranks and parameters get streams of their own.
std::uint64_t derive_seed(std::uint64_t seed, std::uint64_t salt);
std::uint64_t derive_seed(std::uint64_t seed, std::string_view salt);

}  // namespace gradwire
