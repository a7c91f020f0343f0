#include <algorithm>
#include <cstddef>
#include <cstring>

#include "core/ops/shape/shape_kernels.h"
#include "core/parallel_for.h"

namespace gradwire::cpu {
namespace {

constexpr std::int64_t kGrainBytes = std::int64_t{1} << 16;
constexpr std::int64_t kTile =
    32;  // elements: a tile of rows and one of columns fit the first cache

// The part of a transposition that a thread does: rows [begin, end) of one matrix a x b.
struct Tile {
  std::byte* out;  // of this matrix
  const std::byte* in;
  std::int64_t in_row, out_row;  // bytes from row to row
  std::int64_t begin, end, columns, bytes;
};

template <class Element>
void transpose_elements(const Tile& t) {
  constexpr std::int64_t kSize = sizeof(Element);
  for (std::int64_t column = 0; column < t.columns; column += kTile) {
    const std::int64_t last = std::min(t.columns, column + kTile);
    for (std::int64_t j = column; j < last; ++j) {
      std::byte* out = t.out + j * t.out_row;
      for (std::int64_t i = t.begin; i < t.end; ++i) {
        Element e;
        std::memcpy(&e, t.in + i * t.in_row + j * kSize, sizeof e);
        std::memcpy(out + i * kSize, &e, sizeof e);
      }
    }
  }
}

void transpose_runs(const Tile& t) {
  for (std::int64_t i = t.begin; i < t.end; ++i) {
    for (std::int64_t j = 0; j < t.columns; ++j) {
      std::memcpy(t.out + j * t.out_row + i * t.bytes, t.in + i * t.in_row + j * t.bytes,
                  static_cast<std::size_t>(t.bytes));
    }
  }
}

void transpose_tile(const Tile& t) {
  switch (t.bytes) {
    case 2: return transpose_elements<std::uint16_t>(t);
    case 4: return transpose_elements<std::uint32_t>(t);
    case 8: return transpose_elements<std::uint64_t>(t);
    default: return transpose_runs(t);
  }
}

}  // namespace

void copy_blocks(const BlockCopy& c) {
  const std::int64_t pieces = std::max<std::int64_t>(1, (c.bytes + kGrainBytes - 1) / kGrainBytes);
  const std::int64_t piece = (c.bytes + pieces - 1) / pieces;
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrainBytes / std::max<std::int64_t>(1, piece));
  parallel_for(c.count * pieces, grain, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t u = b; u < e; ++u) {
      const std::int64_t block = u / pieces, begin = u % pieces * piece;
      const std::int64_t n = std::min(piece, c.bytes - begin);
      if (n <= 0) continue;
      std::memcpy(static_cast<std::byte*>(c.to) + block * c.to_stride + begin,
                  static_cast<const std::byte*>(c.from) + block * c.from_stride + begin,
                  static_cast<std::size_t>(n));
    }
  });
}

void transpose(const Transpose& t) {
  const std::int64_t run = t.inner * t.size;
  if (t.a == 0 || t.b == 0 || run == 0) return;
  const std::int64_t tiles = (t.a + kTile - 1) / kTile;  // of rows, per matrix
  const std::int64_t grain = std::max<std::int64_t>(1, kGrainBytes / (kTile * t.b * run));
  parallel_for(t.outer * t.middle * tiles, grain, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t u = b; u < e; ++u) {
      const std::int64_t row = u % tiles * kTile;
      const std::int64_t o = u / tiles / t.middle, m = u / tiles % t.middle;
      transpose_tile({static_cast<std::byte*>(t.out) + (o * t.b * t.middle + m) * t.a * run,
                      static_cast<const std::byte*>(t.in) + (o * t.a * t.middle + m) * t.b * run,
                      t.middle * t.b * run, t.middle * t.a * run, row, std::min(t.a, row + kTile),
                      t.b, run});
    }
  });
}

}  // namespace gradwire::cpu
