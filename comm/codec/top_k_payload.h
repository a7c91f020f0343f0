// How a top-k payload is laid out (top_k.h), and a reader that has checked all of it: what a peer
// sends may be anything, but leads neither out of bounds nor to one element twice.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "comm/codec/codec_input.h"

namespace gradwire::top_k {

constexpr std::int64_t kSegment = std::int64_t{1} << 16;

enum Format : std::uint32_t { kIndices, kBitmap };

template <class T>
T load(const std::byte* from, std::int64_t i = 0) {
  T value;
  std::memcpy(&value, from + static_cast<std::size_t>(i) * sizeof(T), sizeof(T));
  return value;
}

inline std::int64_t segments_of(std::int64_t n) {
  return (n + kSegment - 1) / kSegment;
}

// Where the parts of a payload with `count` of n elements begin, in bytes.
struct Layout {
  Format format;
  std::size_t ends, values, places, total;
  Layout(std::int64_t n, std::int64_t count) {
    const std::size_t indices = sizeof(std::uint16_t) * static_cast<std::size_t>(count);
    format = indices <= bytes_of(n) ? kIndices : kBitmap;
    ends = 2 * sizeof(std::uint32_t);
    values = ends + sizeof(std::uint32_t) * static_cast<std::size_t>(segments_of(n));
    places = values + sizeof(float) * static_cast<std::size_t>(count);
    total = places + (format == kIndices ? indices : bytes_of(n));
  }
};

// A payload that is being read, with one segment looked at.
class Reader {
 public:
  // Error: kComm.
  Reader(std::span<const std::byte> in, std::int64_t n);
  std::int64_t segments() const { return segments_of(n_); }
  // f(i, value) for each value of a segment.
  template <class F>
  void for_each(std::int64_t segment, const F& f) const;

 private:
  // False unless the places of a segment's values are as an encoder writes them.
  bool valid(std::int64_t segment) const;
  std::int64_t begin_of(std::int64_t s) const {
    return s == 0 ? 0 : load<std::uint32_t>(in_.data() + layout_.ends, s - 1);
  }
  std::int64_t end_of(std::int64_t s) const { return begin_of(s + 1); }
  std::int64_t length_of(std::int64_t s) const { return std::min(kSegment, n_ - s * kSegment); }
  const std::byte* bitmap_of(std::int64_t s) const {
    return in_.data() + layout_.places + s * (kSegment / 8);
  }

  std::span<const std::byte> in_;
  std::int64_t n_;
  Layout layout_;
};

template <class F>
void Reader::for_each(std::int64_t s, const F& f) const {
  const std::byte* values = in_.data() + layout_.values;
  std::int64_t j = begin_of(s);
  if (layout_.format == kIndices) {
    for (; j < end_of(s); ++j)
      f(s * kSegment + load<std::uint16_t>(in_.data() + layout_.places, j), load<float>(values, j));
    return;
  }
  for (std::int64_t i = 0; i < (length_of(s) + 7) / 8; ++i)
    for (unsigned kept = load<unsigned char>(bitmap_of(s), i); kept != 0; kept &= kept - 1, ++j)
      f(s * kSegment + 8 * i + std::countr_zero(kept), load<float>(values, j));
}

}  // namespace gradwire::top_k
