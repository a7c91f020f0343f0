#include "comm/codec/top_k.h"

#include <algorithm>
#include <cstring>

#include "comm/codec/codec_input.h"
#include "comm/codec/top_k_payload.h"
#include "comm/codec/top_k_select.h"
#include "core/parallel_for.h"

namespace gradwire {
namespace {

using top_k::kSegment, top_k::Layout, top_k::load, top_k::Reader, top_k::segments_of;

TopKCut cut_in(const TopKCut& cut, std::int64_t begin) {
  return {cut.threshold, std::max<std::int64_t>(cut.tie_end - begin, 0)};
}

// Writes where each segment's values end; returns their number.
std::int64_t write_ends(std::span<const float> c, const TopKCut& cut, std::byte* ends) {
  const auto n = static_cast<std::int64_t>(c.size());
  const auto store = [ends](std::int64_t s, std::int64_t value) {
    const auto word = static_cast<std::uint32_t>(value);
    std::memcpy(ends + s * 4, &word, sizeof word);
  };
  parallel_for(n, kSegment, [&](std::int64_t begin, std::int64_t end) {
    store(begin / kSegment,
          top_k_kernels().count(c.data() + begin, end - begin, cut_in(cut, begin)));
  });
  std::int64_t sum = 0;
  for (std::int64_t s = 0; s < segments_of(n); ++s) {
    sum += load<std::uint32_t>(ends, s);
    store(s, sum);
  }
  return sum;
}

}  // namespace

std::size_t TopKCodec::max_bytes(std::int64_t n) const {
  check_length(name(), n);
  return n == 0 ? 0 : Layout(n, count_of(n)).total;
}

std::size_t TopKCodec::encode_values(std::span<const float> c, std::span<const std::byte>,
                                     std::uint64_t, std::span<std::byte> out) const {
  const auto n = static_cast<std::int64_t>(c.size());
  const TopKCut cut = select_top_k(c, count_of(n));
  const std::int64_t count = write_ends(c, cut, out.data() + Layout(n, 0).ends);
  const Layout layout(n, count);
  const std::uint32_t header[] = {static_cast<std::uint32_t>(count), layout.format};
  std::memcpy(out.data(), header, sizeof header);
  parallel_for(n, kSegment, [&](std::int64_t begin, std::int64_t end) {
    const std::byte* const ends = out.data() + layout.ends;
    const std::int64_t first = begin == 0 ? 0 : load<std::uint32_t>(ends, begin / kSegment - 1);
    std::byte* values = out.data() + layout.values + first * 4;
    std::byte* places = out.data() + layout.places;
    const float* from = c.data() + begin;
    if (layout.format == top_k::kIndices) {
      top_k_kernels().pick_indices(from, end - begin, cut_in(cut, begin), values,
                                   places + first * 2);
    } else {
      top_k_kernels().pick_bitmap(from, end - begin, cut_in(cut, begin), values,
                                  places + begin / 8);
    }
  });
  return layout.total;
}

void TopKCodec::clear_sent(std::span<const std::byte> payload, std::span<const std::byte>,
                           std::span<float> c) const {
  const Reader reader(payload, static_cast<std::int64_t>(c.size()));
  parallel_for(reader.segments(), 1, [&](std::int64_t begin, std::int64_t) {
    reader.for_each(begin, [&](std::int64_t i, float) { c[static_cast<std::size_t>(i)] = 0.0F; });
  });
}

void TopKCodec::do_decode(std::span<const std::byte> in, const DecodeTarget& target) const {
  const Reader reader(in, static_cast<std::int64_t>(target.to.size()));
  const SparseWriter writer(target);
  parallel_for(reader.segments(), 1, [&](std::int64_t begin, std::int64_t) {
    reader.for_each(begin, [&](std::int64_t i, float value) { writer.put(i, value); });
  });
}

}  // namespace gradwire
