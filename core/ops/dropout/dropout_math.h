// The mask of dropout, the same on every device: element i of a call that took its numbers from
// `first` on is dropped if its 24-bit uniform number is below the threshold.
#pragma once

#include "core/rng.h"

namespace gradwire {

// The number of values below p on the grid of to_uniform().
GW_HD std::uint32_t dropout_threshold(double p) {
  return static_cast<std::uint32_t>(p * 16777216.0 + 0.5);
}

GW_HD bool is_dropped(std::uint32_t word, std::uint32_t threshold) {
  return (word >> 8) < threshold;
}

}  // namespace gradwire
