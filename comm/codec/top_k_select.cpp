#include "comm/codec/top_k_select.h"

#include <algorithm>
#include <mutex>

#include "core/parallel_for.h"

namespace gradwire {
namespace {

void histogram(std::span<const float> c, const HistogramRange& range, std::uint32_t* bins) {
  constexpr std::int64_t kChunk = std::int64_t{1} << 18;
  std::mutex mutex;
  parallel_for(static_cast<std::int64_t>(c.size()), kChunk,
               [&](std::int64_t begin, std::int64_t end) {
                 std::uint32_t own[kMaxBins] = {};
                 top_k_kernels().histogram(c.data() + begin, end - begin, range, own);
                 const std::lock_guard lock(mutex);
                 for (int b = 0; b < range.bins; ++b)
                   bins[b] += own[b];
               });
}

// One past the element that is the `ties`-th of magnitude `threshold`.
std::int64_t end_of_ties(std::span<const float> c, std::int32_t threshold, std::int64_t ties) {
  constexpr std::int64_t kChunk = std::int64_t{1} << 12;
  const auto n = static_cast<std::int64_t>(c.size());
  const auto equal = [&](std::int64_t begin, std::int64_t count) {
    const TopKKernels& loops = top_k_kernels();
    const float* from = c.data() + begin;
    return loops.count(from, count, {threshold - 1, 0}) - loops.count(from, count, {threshold, 0});
  };
  std::int64_t begin = 0, step = kChunk;
  while (step > 0) {
    const std::int64_t count = std::min(step, n - begin);
    const std::int64_t found = equal(begin, count);
    if (found < ties) {
      ties -= found;
      begin += count;
    } else {
      step = step == kChunk ? 64 : step == 64 ? 1 : 0;
    }
  }
  return begin + 1;
}

}  // namespace

TopKCut select_top_k(std::span<const float> c, std::int64_t k) {
  constexpr HistogramRange kLevels[] = {{0, 20, 2048}, {0, 9, 2048}, {0, 0, 512}};
  std::int64_t above = 0;
  std::int32_t low = 0;
  for (HistogramRange range : kLevels) {
    std::uint32_t bins[kMaxBins] = {};
    range.low = low;
    histogram(c, range, bins);
    int bin = range.bins - 1;
    for (; bin > 0 && above + bins[bin] < k; --bin)
      above += bins[bin];
    low += bin << range.shift;
    if (above + bins[bin] <= k) return {std::max(low - 1, 0), 0};
  }
  if (low == 0) return {0, 0};
  return {low, end_of_ties(c, low, k - above)};
}

}  // namespace gradwire
