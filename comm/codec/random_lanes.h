// Random words for stochastic rounding, sixteen Philox blocks side by side: word w of block
// 16 g + l belongs to element 64 g + 16 w + l, so that vectors need no shuffling.
#pragma once

#include <cstdint>

#include "comm/codec/lanes.h"
#include "core/rng.h"

namespace gradwire {

inline constexpr int kBlocks = 16;

// The 64 words of the elements from `first` on, a multiple of 64.
GW_HD void random_words(std::uint64_t stream, std::int64_t first, std::uint32_t* words) {
  const std::uint64_t block = static_cast<std::uint64_t>(first) / 4;
  for (int l = 0; l < kBlocks; ++l) {
    const PhiloxBlock four = philox(stream, block + static_cast<std::uint64_t>(l));
    for (int w = 0; w < 4; ++w)
      words[w * kBlocks + l] = four.word[w];
  }
}

}  // namespace gradwire
