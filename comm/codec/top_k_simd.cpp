#include "comm/codec/lanes.h"
#include "comm/codec/top_k_kernels.h"
#include "core/math.h"

namespace gradwire::GW_ISA {
namespace {

std::int32_t magnitude_of(float x) {
  return static_cast<std::int32_t>(math::bits_of(x) & 0x7FFFFFFFU);
}

// f(i, group): 64 values from element i on, zeros behind the end.
template <class F>
void for_each_group(const float* c, std::int64_t n, const F& f) {
  const std::int64_t whole = n / kGroup * kGroup;
  for (std::int64_t i = 0; i < whole; i += kGroup)
    f(i, c + i);
  if (whole == n) return;
  float tail[kGroup] = {};
  for (std::int64_t i = whole; i < n; ++i)
    tail[i - whole] = c[i];
  f(whole, tail);
}

std::uint64_t kept_bits(const float* group, std::int64_t i, const TopKCut& cut) {
  if (cut.tie_end <= i) return greater_bits(group, cut.threshold);
  const std::uint64_t with_ties = greater_bits(group, cut.threshold - 1);
  if (cut.tie_end >= i + kGroup) return with_ties;
  const std::uint64_t before = (std::uint64_t{1} << (cut.tie_end - i)) - 1;
  return greater_bits(group, cut.threshold) | (with_ties & before);
}

// Four tables, so that equal neighbours do not wait for each other's count.
void histogram_of_all(const float* c, std::int64_t n, int shift, std::uint32_t* bins) {
  constexpr int kTables = 4;
  std::uint32_t table[kTables][kMaxBins] = {};
  const std::int64_t whole = n / kTables * kTables;
  for (std::int64_t i = 0; i < whole; i += kTables)
    for (int t = 0; t < kTables; ++t)
      ++table[t][magnitude_of(c[i + t]) >> shift];
  for (std::int64_t i = whole; i < n; ++i)
    ++table[0][magnitude_of(c[i]) >> shift];
  for (int b = 0; b < kMaxBins; ++b)
    bins[b] += (table[0][b] + table[1][b]) + (table[2][b] + table[3][b]);
}

void histogram(const float* c, std::int64_t n, const HistogramRange& range, std::uint32_t* bins) {
  constexpr std::int64_t kMagnitudes = std::int64_t{1} << 31;
  if (range.width() == kMagnitudes) return histogram_of_all(c, n, range.shift, bins);
  const auto last = static_cast<std::int32_t>(range.low + range.width() - 1);
  for_each_group(c, n, [&](std::int64_t i, const float* group) {
    const std::int64_t left = n - i;
    std::uint64_t inside = greater_bits(group, range.low - 1) & ~greater_bits(group, last);
    if (left < kGroup) inside &= (std::uint64_t{1} << left) - 1;
    for (; inside != 0; inside &= inside - 1)
      ++bins[(magnitude_of(group[__builtin_ctzll(inside)]) - range.low) >> range.shift];
  });
}

std::int64_t count(const float* c, std::int64_t n, const TopKCut& cut) {
  std::int64_t sum = 0;
  for_each_group(c, n, [&](std::int64_t i, const float* group) {
    sum += __builtin_popcountll(kept_bits(group, i, cut));
  });
  return sum;
}

void pick_indices(const float* c, std::int64_t n, const TopKCut& cut, std::byte* values,
                  std::byte* indices) {
  for_each_group(c, n, [&](std::int64_t i, const float* group) {
    for (std::uint64_t kept = kept_bits(group, i, cut); kept != 0; kept &= kept - 1) {
      const int l = __builtin_ctzll(kept);
      const auto index = static_cast<std::uint16_t>(i + l);
      memcpy(values, group + l, sizeof(float));
      memcpy(indices, &index, sizeof index);
      values += sizeof(float);
      indices += sizeof index;
    }
  });
}

void pick_bitmap(const float* c, std::int64_t n, const TopKCut& cut, std::byte* values,
                 std::byte* bitmap) {
  for_each_group(c, n, [&](std::int64_t i, const float* group) {
    std::uint64_t kept = kept_bits(group, i, cut);
    const std::int64_t left = n - i;
    memcpy(bitmap + i / 8, &kept, static_cast<std::size_t>(left < kGroup ? (left + 7) / 8 : 8));
    for (; kept != 0; kept &= kept - 1) {
      memcpy(values, group + __builtin_ctzll(kept), sizeof(float));
      values += sizeof(float);
    }
  });
}

}  // namespace

const TopKKernels top_k_kernels{&histogram, &count, &pick_indices, &pick_bitmap};

}  // namespace gradwire::GW_ISA
