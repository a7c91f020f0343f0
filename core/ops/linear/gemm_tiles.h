// How the CPU cuts a product into tiles: by its shape alone, so that results do not depend on the
// number of threads.
#pragma once

#include <algorithm>

#include "core/ops/linear/gemm.h"
#include "core/parallel_for.h"

namespace gradwire::cpu {

struct Range {
  std::int64_t begin, size;
};

struct Tiling {
  std::int64_t rows, cols;    // of one tile; fewer in the last ones
  std::int64_t down, across;  // tiles along m and n
};

inline std::int64_t pieces(std::int64_t n, std::int64_t at_most) {
  return (n + at_most - 1) / at_most;
}

// Tiles of at most these rows and columns, and of fewer rows if that gives too few tiles.
Tiling tiling_of(const Gemm& g, std::int64_t most_rows, std::int64_t most_cols);

// The first element of a part of an operand, counted from its data.
inline std::int64_t place(const GemmOperand& x, std::int64_t batch, Range row, Range col) {
  return batch * x.batch_stride +
         (x.transposed ? col.begin * x.ld + row.begin : row.begin * x.ld + col.begin);
}

// Calls compute(batch, rows, cols) for every tile, on all threads.
template <class F>
void for_each_tile(const Gemm& g, const Tiling& t, const F& compute) {
  const std::int64_t per_product = t.down * t.across, tiles = g.batch * per_product;
  // Waking threads costs more than a product of a few microseconds.
  constexpr std::int64_t kAlone = 1 << 18;
  const bool alone = g.batch * g.m * g.n * g.k <= kAlone;
  parallel_for(tiles, alone ? tiles : 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) {
      const std::int64_t tile = index % per_product;
      const std::int64_t i = tile % t.down * t.rows, j = tile / t.down * t.cols;
      compute(index / per_product, Range{i, std::min(t.rows, g.m - i)},
              Range{j, std::min(t.cols, g.n - j)});
    }
  });
}

}  // namespace gradwire::cpu
