// Finds what top-k keeps, by a histogram over the magnitudes that is refined twice.
#pragma once

#include <span>

#include "comm/codec/top_k_kernels.h"

namespace gradwire {

// Keeps exactly k elements, or all that are not zero if these are fewer.
TopKCut select_top_k(std::span<const float> c, std::int64_t k);

}  // namespace gradwire
