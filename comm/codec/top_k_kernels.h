// The loops of top-k selection. Magnitudes are compared as the integers that their bits are.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/simd.h"

namespace gradwire {

// What is kept: magnitudes above the threshold, and those equal to it before element `tie_end`.
struct TopKCut {
  std::int32_t threshold = 0;
  std::int64_t tie_end = 0;
};

// Magnitudes in [low, low + width()), in bins of 1 << shift.
struct HistogramRange {
  std::int32_t low = 0;
  int shift = 0;
  std::int32_t bins = 0;
  std::int64_t width() const { return static_cast<std::int64_t>(bins) << shift; }
};
inline constexpr int kMaxBins = 2048;

struct TopKKernels {
  // Adds to bins[].
  void (*histogram)(const float* c, std::int64_t n, const HistogramRange& range,
                    std::uint32_t* bins);
  std::int64_t (*count)(const float* c, std::int64_t n, const TopKCut& cut);
  // Writes the kept values one after the other, and where they are.
  void (*pick_indices)(const float* c, std::int64_t n, const TopKCut& cut, std::byte* values,
                       std::byte* indices);
  void (*pick_bitmap)(const float* c, std::int64_t n, const TopKCut& cut, std::byte* values,
                      std::byte* bitmap);
};
GW_DECLARE_KERNELS(TopKKernels, top_k_kernels);

}  // namespace gradwire
