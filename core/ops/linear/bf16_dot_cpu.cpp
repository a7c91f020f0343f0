#include <algorithm>

#include "core/ops/linear/bf16_dot.h"
#include "core/ops/linear/bf16_gemm.h"
#include "core/ops/linear/gemm_tiles.h"
#include "core/ops/linear/thread_scratch.h"
#include "core/parallel_for.h"
#include "core/simd.h"

namespace gradwire {

namespace isa_v4_bf16 {
extern const Bf16DotKernels bf16_dot_kernels;
}

const Bf16DotKernels* bf16_dot_kernels() {
  static const bool has_it = [] {
    __builtin_cpu_init();
    return detect_isa() == Isa::kV4 && __builtin_cpu_supports("avx512bf16") != 0;
  }();
  return has_it ? &isa_v4_bf16::bf16_dot_kernels : nullptr;
}

// A panel of b stays in the first-level cache while the rows of a come from the second.
void multiply_blocks(const DotBlock& whole, std::int64_t panel) {
  const Bf16DotKernels& kernels = *bf16_dot_kernels();
  const auto c_size = static_cast<std::int64_t>(whole.narrow ? sizeof(Bf16) : sizeof(float));
  for (std::int64_t j = 0; j < whole.cols; j += kDotCols) {
    for (std::int64_t i = 0; i < whole.rows; i += kDotRows) {
      DotBlock block = whole;
      block.a += i * whole.a_row;
      block.b += j / kDotCols * panel;
      block.rows = std::min(kDotRows, whole.rows - i);
      block.cols = std::min(kDotCols, whole.cols - j);
      if (whole.partial != nullptr) block.partial += i * whole.partial_ld + j;
      if (whole.bias != nullptr) block.bias += j;
      block.c = static_cast<std::byte*>(whole.c) + (i * whole.ldc + j) * c_size;
      kernels.multiply(block);
    }
  }
}

namespace cpu::avx512 {
namespace {

constexpr std::int64_t kElement = sizeof(Bf16);

// The rows of a tile's part of a stay in the second-level cache while a panel of b, this much of k,
// meets all of them.
constexpr std::int64_t kMostRows = 252, kMostCols = 1536, kMostDepth = 768;
// Products are cut into this many tiles, for all the cores, as long as what a tile reads stays
// small beside what it computes.
constexpr std::int64_t kTiles = 16, kFewestRows = 24, kFewestCols = 128;

std::int64_t rounded_up(std::int64_t n, std::int64_t multiple) {
  return pieces(n, multiple) * multiple;
}

Tiling tiling(const Gemm& g) {
  Tiling t{};
  t.rows = rounded_up(pieces(g.m, pieces(g.m, kMostRows)), kDotRows);
  t.cols = rounded_up(pieces(g.n, pieces(g.n, kMostCols)), kDotCols);
  const auto too_few = [&] { return g.batch * pieces(g.m, t.rows) * pieces(g.n, t.cols) < kTiles; };
  const auto halve = [](std::int64_t n, std::int64_t fewest, std::int64_t multiple) {
    return std::max(fewest, rounded_up(n / 2, multiple));
  };
  for (const std::int64_t few : {4, 1}) {
    while (t.rows > few * kFewestRows && too_few())
      t.rows = halve(t.rows, few * kFewestRows, kDotRows);
    while (t.cols > few * kFewestCols && too_few())
      t.cols = halve(t.cols, few * kFewestCols, kDotCols);
  }
  t.down = pieces(g.m, t.rows);
  t.across = pieces(g.n, t.cols);
  return t;
}

const Bf16* part(const GemmOperand& x, std::int64_t batch, Range row, Range col) {
  return static_cast<const Bf16*>(x.data) + place(x, batch, row, col);
}

// Panels of b: those of one product next to each other, each of all of k.
struct PanelsOfB {
  std::int64_t panel, product;  // elements of one

  PanelsOfB(std::int64_t k, std::int64_t n)
      : panel(rounded_up(k, 2) * kDotCols), product(pieces(n, kDotCols) * panel) {}

  void pack(const GemmOperand& b, std::int64_t batch, std::int64_t k, std::int64_t n,
            Bf16* to) const {
    const Bf16DotKernels& kernels = *bf16_dot_kernels();
    const auto pack_panel = b.transposed ? kernels.pack_rows : kernels.pack_columns;
    constexpr std::int64_t kAlone = 1 << 14;
    const std::int64_t across = pieces(n, kDotCols), panels = batch * across;
    parallel_for(
        panels, batch * k * n <= kAlone ? panels : 1, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) {
            const std::int64_t col = i % across * kDotCols;
            const Range cols{col, std::min(kDotCols, n - col)};
            pack_panel({part(b, i / across, {0, k}, cols), b.ld}, k, cols.size, to + i * panel);
          }
        });
  }
};

class DotGemm {
 public:
  DotGemm(Context& cx, const Gemm& g)
      : g_(g),
        t_(tiling(g)),
        depth_(rounded_up(pieces(g.k, pieces(g.k, kMostDepth)), 2)),
        panels_(g.k, g.n),
        products_of_b_(g.b.batch_stride == 0 ? 1 : g.batch),
        b_room_(*cx.alloc, static_cast<std::size_t>(bytes_for_b()), Segment::kScratch, cx.stream),
        scratch_(cx, static_cast<std::size_t>(a_bytes() + sum_bytes())) {}

  void run() const {
    if (g_.b.packed == nullptr) {
      panels_.pack(g_.b, products_of_b_, g_.k, g_.n, static_cast<Bf16*>(b_room_.data()));
    }
    for_each_tile(g_, t_,
                  [&](std::int64_t batch, Range rows, Range cols) { compute(batch, rows, cols); });
  }

 private:
  bool is_narrow() const { return g_.c_dtype == DType::kBf16; }
  std::int64_t bytes_for_b() const {
    return g_.b.packed != nullptr ? 0 : products_of_b_ * panels_.product * kElement;
  }
  // Pairs of a are read where they lie, if both elements of each are there and next to each other.
  bool copies_a() const { return g_.a.transposed || g_.k % 2 != 0; }
  std::int64_t copied_rows() const { return rounded_up(t_.rows, kDotLine); }
  std::int64_t a_bytes() const { return copies_a() ? copied_rows() * depth_ * kElement : 0; }
  // A bf16 c cannot hold the sums over a part of k.
  std::int64_t sum_bytes() const {
    constexpr std::int64_t kSum = sizeof(float);
    return is_narrow() && g_.k > depth_ ? t_.rows * t_.cols * kSum : 0;
  }

  const Bf16* panels_of(std::int64_t batch) const {
    if (g_.b.packed != nullptr) {
      return static_cast<const Bf16*>(static_cast<const void*>(g_.b.packed->storage.raw()));
    }
    return static_cast<const Bf16*>(b_room_.data()) +
           (products_of_b_ == 1 ? 0 : batch * panels_.product);
  }

  void compute(std::int64_t batch, Range rows, Range cols) const {
    const Bf16* b = panels_of(batch) + cols.begin / kDotCols * panels_.panel;
    for (std::int64_t k = 0; k < g_.k; k += depth_) {
      const Range depth{k, std::min(depth_, g_.k - k)};
      DotBlock block{};
      block.b = b + k * kDotCols;
      block.pairs = pieces(depth.size, 2);
      block.rows = rows.size;
      block.cols = cols.size;
      read_a(block, batch, rows, depth);
      write_c(block, batch * g_.c_batch_stride + rows.begin * g_.ldc + cols.begin, depth);
      const bool is_last = depth.begin + depth.size == g_.k;
      if (is_last && g_.bias != nullptr)
        block.bias = static_cast<const float*>(g_.bias) + cols.begin;
      multiply_blocks(block, panels_.panel);
    }
  }

  // Where the sums over this part of k go, element `at` of c on, and what they are added to.
  void write_c(DotBlock& block, std::int64_t at, Range depth) const {
    const bool is_first = depth.begin == 0, is_last = depth.begin + depth.size == g_.k;
    if (!is_narrow()) {
      float* c = static_cast<float*>(g_.c) + at;
      block.c = c;
      block.partial = is_first && !g_.accumulate ? nullptr : c;
      block.ldc = block.partial_ld = g_.ldc;
      return;
    }
    float* sums = reinterpret_cast<float*>(scratch_.mine() + a_bytes());
    block.partial = is_first ? nullptr : sums;
    block.partial_ld = t_.cols;
    block.narrow = is_last;
    block.c = is_last ? static_cast<void*>(static_cast<Bf16*>(g_.c) + at) : sums;
    block.ldc = is_last ? g_.ldc : t_.cols;
  }

  // Where the pairs of these rows lie.
  void read_a(DotBlock& block, std::int64_t batch, Range rows, Range depth) const {
    const Bf16* from = part(g_.a, batch, rows, depth);
    if (!copies_a()) {
      block.a = from;
      block.a_row = g_.a.ld;
      block.a_pair = 2;
      return;
    }
    Bf16* room = reinterpret_cast<Bf16*>(scratch_.mine());
    block.a = room;
    if (g_.a.transposed) {
      bf16_dot_kernels()->interleave({from, g_.a.ld}, depth.size, rows.size, copied_rows(), room);
      block.a_row = 2;
      block.a_pair = 2 * copied_rows();
    } else {
      for (std::int64_t i = 0; i < rows.size; ++i) {
        Bf16* row = std::copy_n(from + i * g_.a.ld, depth.size, room + i * depth_);
        if (depth.size % 2 != 0) *row = Bf16(0.0F);
      }
      block.a_row = depth_;
      block.a_pair = 2;
    }
  }

  const Gemm& g_;
  Tiling t_;
  std::int64_t depth_;  // how much of k is taken at a time, even
  PanelsOfB panels_;
  std::int64_t products_of_b_;
  Storage b_room_;
  ThreadScratch scratch_;
};

}  // namespace

std::shared_ptr<PackedMatrix> pack(Context& cx, const GemmOperand& b, std::int64_t k,
                                   std::int64_t n) {
  const PanelsOfB panels(k, n);
  auto out = std::make_shared<PackedMatrix>();
  out->storage = Tensor::empty(cx, {panels.product * kElement}, DType::kU8);
  panels.pack(b, 1, k, n, static_cast<Bf16*>(out->storage.raw()));
  return out;
}

void gemm_bf16(Context& cx, const Gemm& g) {
  DotGemm(cx, g).run();
}

}  // namespace cpu::avx512
}  // namespace gradwire
