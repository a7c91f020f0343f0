#include <algorithm>
#include <type_traits>

#include "core/ops/linear/bf16_unit.h"
#include "core/ops/linear/block_gemm.h"
#include "core/ops/linear/gemm_kernels.h"
#include "core/ops/linear/gemm_tiles.h"
#include "core/ops/linear/linear_kernels.h"
#include "core/ops/linear/thread_scratch.h"

namespace gradwire::cpu {
namespace {

// Tiles of 256 x 512 keep both operands in the second-level cache.
constexpr std::int64_t kMostRows = 256, kMostCols = 512;

// How much of k one library call takes.
std::int64_t depth_of(const Gemm& g) {
  // A column of b whose rows lie 4 KiB apart evicts itself while oneDNN copies it; shallow calls
  // take it through another kernel (138 against 184 GFLOP/s for k 384, n 1024).
  const bool aliased = !g.b.transposed && g.b.dtype == DType::kF32 && g.b.ld % 1024 == 0;
  return std::min<std::int64_t>(std::max<std::int64_t>(g.k, 1), aliased ? 192 : 512);
}

template <class T>
class TiledGemm {
 public:
  TiledGemm(Context& cx, const Gemm& g)
      : g_(g),
        t_(tiling_of(g, kMostRows, kMostCols)),
        depth_(depth_of(g)),
        scratch_(cx, sizeof(T) * scratch_elements()) {}

  void run() const {
    for_each_tile(g_, t_,
                  [&](std::int64_t batch, Range rows, Range cols) { compute(batch, rows, cols); });
  }

 private:
  static bool widened(DType t) { return t == DType::kBf16; }
  // A transposed matrix whose rows lie 4 KiB apart evicts itself too; the library is given a copy
  // without gaps (153 against 123 GFLOP/s for the weight gradient of 4096 classes).
  bool copies_a() const { return widened(g_.a.dtype) || (g_.a.transposed && g_.a.ld % 1024 == 0); }
  bool copies_b() const { return widened(g_.b.dtype); }

  std::size_t scratch_elements() const {
    const std::int64_t a = copies_a() ? t_.rows * depth_ : 0;
    const std::int64_t b = copies_b() ? depth_ * t_.cols : 0;
    const std::int64_t c = widened(g_.c_dtype) ? t_.rows * t_.cols : 0;
    return static_cast<std::size_t>(a + b + c);
  }

  void compute(std::int64_t batch, Range rows, Range cols) const {
    const SingleThreadScope single;
    T* a_room = reinterpret_cast<T*>(scratch_.mine());
    T* b_room = a_room + (copies_a() ? t_.rows * depth_ : 0);
    T* c_room = b_room + (copies_b() ? depth_ * t_.cols : 0);
    const std::int64_t at = batch * g_.c_batch_stride + rows.begin * g_.ldc + cols.begin;
    const Block<T> c = widened(g_.c_dtype) ? Block<T>{c_room, cols.size}
                                           : Block<T>{static_cast<T*>(g_.c) + at, g_.ldc};
    T beta = g_.accumulate ? T(1) : T(0);
    std::int64_t k = 0;
    do {
      const Range inner{k, std::min(depth_, g_.k - k)};
      block_gemm({rows.size, cols.size, inner.size},
                 operand(g_.a, batch, rows, inner, copies_a() ? a_room : nullptr),
                 operand(g_.b, batch, inner, cols, copies_b() ? b_room : nullptr), beta, c);
      beta = T(1);
      k += depth_;
    } while (k < g_.k);
    finish(c, at, rows.size, cols);
  }

  // The part of x that a tile takes: in place, or copied into `room`.
  Block<const T> operand(const GemmOperand& x, std::int64_t batch, Range row, Range col,
                         T* room) const {
    const std::int64_t at = place(x, batch, row, col);
    const std::int64_t lines = x.transposed ? col.size : row.size;
    const std::int64_t length = x.transposed ? row.size : col.size;
    if constexpr (std::is_same_v<T, float>) {
      if (widened(x.dtype)) {
        linear_kernels().widen(static_cast<const Bf16*>(x.data) + at, x.ld, room, length, lines,
                               length);
        return {room, length, x.transposed};
      }
    }
    const T* from = static_cast<const T*>(x.data) + at;
    if (room == nullptr) return {from, x.ld, x.transposed};
    for (std::int64_t i = 0; i < lines; ++i) {
      std::copy_n(from + i * x.ld, length, room + i * length);
    }
    return {room, length, x.transposed};
  }

  void finish(Block<T> c, std::int64_t at, std::int64_t rows, Range cols) const {
    const LinearKernels& kernels = linear_kernels();
    const T* bias = static_cast<const T*>(g_.bias);
    if constexpr (std::is_same_v<T, float>) {
      if (bias != nullptr) kernels.add_bias_f32(c.data, c.ld, bias + cols.begin, rows, cols.size);
      if (!widened(g_.c_dtype)) return;
      kernels.narrow(c.data, c.ld, static_cast<Bf16*>(g_.c) + at, g_.ldc, rows, cols.size);
    } else {
      if (bias != nullptr) kernels.add_bias_f64(c.data, c.ld, bias + cols.begin, rows, cols.size);
    }
  }

  const Gemm& g_;
  Tiling t_;
  std::int64_t depth_;
  ThreadScratch scratch_;
};

}  // namespace

void gemm(Context& cx, const Gemm& g) {
  // With nothing to add up the library has no product to offer.
  const bool narrow = g.a.dtype == DType::kBf16 && g.b.dtype == DType::kBf16 && g.k > 0;
  if (narrow && use_bf16_unit(cx)) return gemm_bf16(cx, g);
  if (g.c_dtype == DType::kF64) return TiledGemm<double>(cx, g).run();
  TiledGemm<float>(cx, g).run();
}

}  // namespace gradwire::cpu
