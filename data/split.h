// Which documents are held out for validation: a property of the seed and of the document's place
// in the corpus alone, so that it is the same in every run and needs no file.
#pragma once

#include <cstdint>

#include "core/rng.h"

namespace gradwire {

struct SplitConfig {
  double valid_share = 0.05;  // of the documents, in [0, 1)
  std::uint64_t seed = 1;
};

inline bool is_held_out(const SplitConfig& split, std::int64_t document) {
  const std::uint64_t word = derive_seed(split.seed, static_cast<std::uint64_t>(document));
  return static_cast<double>(word >> 11) * 0x1p-53 < split.valid_share;
}

}  // namespace gradwire
