#include <algorithm>
#include <cmath>
#include <limits>

#include "core/ops/attention/attention_blocks.h"
#include "core/ops/attention/attention_dot.h"
#include "core/ops/linear/bf16_dot.h"
#include "core/ops/linear/bf16_unit.h"
#include "core/ops/linear/linear_kernels.h"
#include "core/ops/linear/thread_scratch.h"

namespace gradwire::cpu {
namespace {

using Rows = HeadRows<const Bf16>;

std::int64_t even(std::int64_t n) {
  return (n + 1) / 2 * 2;
}
std::int64_t panels(std::int64_t cols) {
  return (cols + kDotCols - 1) / kDotCols;
}

// Memory of a task, handed out in parts; counted first, with no memory behind it.
class Room {
 public:
  explicit Room(std::byte* memory) : memory_(memory) {}
  template <class T>
  T* take(std::int64_t elements) {
    constexpr std::int64_t kAlign = 64;
    const std::int64_t at = used_;
    used_ += (elements * static_cast<std::int64_t>(sizeof(T)) + kAlign - 1) / kAlign * kAlign;
    return memory_ == nullptr ? nullptr : reinterpret_cast<T*>(memory_ + at);
  }
  std::size_t used() const { return static_cast<std::size_t>(used_); }

 private:
  std::byte* memory_;
  std::int64_t used_ = 0;
};

template <class Parts>
std::size_t bytes_of(const AttentionShape& s) {
  Room room(nullptr);
  const Parts parts(s, room);
  return room.used();
}

// A second operand: panels of kDotCols columns, each `panel` elements long.
struct Panels {
  Bf16* data;
  std::int64_t panel;

  Panels(Room& room, std::int64_t depth, std::int64_t cols)
      : data(room.take<Bf16>(panels(cols) * even(depth) * kDotCols)),
        panel(even(depth) * kDotCols) {}

  // Columns are the rows of x: the operand is x transposed.
  void pack_rows(Rows x, std::int64_t begin, std::int64_t rows, std::int64_t width) const {
    for (std::int64_t i = 0; i < rows; i += kDotCols) {
      bf16_dot_kernels()->pack_rows({x.row(begin + i), x.ld}, width, std::min(kDotCols, rows - i),
                                    data + i / kDotCols * panel);
    }
  }
  void pack_columns(Rows x, std::int64_t begin, std::int64_t rows, std::int64_t width) const {
    for (std::int64_t j = 0; j < width; j += kDotCols) {
      bf16_dot_kernels()->pack_columns({x.row(begin) + j, x.ld}, rows,
                                       std::min(kDotCols, width - j), data + j / kDotCols * panel);
    }
  }
  // From this row of k on, even, or from this column on, a multiple of kDotCols.
  const Bf16* from_row(std::int64_t k) const { return data + k * kDotCols; }
  const Bf16* from_col(std::int64_t col) const { return data + col / kDotCols * panel; }
};

struct Size {
  std::int64_t rows, cols, depth;
};

// A first operand: its pairs, and the elements from one row and one pair to the next.
struct Pairs {
  const Bf16* data;
  std::int64_t row, pair;
};

// c = a b, or c += a b.
void multiply(Size s, Pairs a, const Bf16* b, std::int64_t panel, float* c, std::int64_t ldc,
              bool add) {
  DotBlock block{};
  block.a = a.data;
  block.a_row = a.row;
  block.a_pair = a.pair;
  block.b = b;
  block.pairs = (s.depth + 1) / 2;
  block.rows = s.rows;
  block.cols = s.cols;
  block.partial = add ? c : nullptr;
  block.partial_ld = ldc;
  block.c = c;
  block.ldc = ldc;
  multiply_blocks(block, panel);
}

Pairs rows_of(Rows x, std::int64_t begin) {
  return {x.row(begin), x.ld, 2};
}

// A block of scores [rows, cols] in bf16, kKeyBlock elements from row to row. Pairs of an odd
// number of columns end with a zero.
void round_scores(const float* scores, std::int64_t rows, std::int64_t cols, Bf16* to) {
  linear_kernels().narrow(scores, cols, to, kKeyBlock, rows, cols);
  if (cols % 2 == 0) return;
  for (std::int64_t r = 0; r < rows; ++r) {
    to[r * kKeyBlock + cols] = Bf16(0.0F);
  }
}
Pairs along_keys(const Bf16* scores) {
  return {scores, kKeyBlock, 2};
}

class Forward {
 public:
  Forward(Context& cx, const AttentionShape& s, const AttentionTensors& t)
      : s_(s), t_(t), scratch_(cx, bytes_of<Parts>(s)) {}

  void run() const {
    const std::int64_t parts = (s_.queries + kTaskQueries - 1) / kTaskQueries;
    run_tasks(s_, s_.batch * s_.heads * parts, [&](std::int64_t index) {
      const std::int64_t begin = index % parts * kTaskQueries, head = index / parts % s_.heads;
      task(index / parts / s_.heads, head, begin, std::min(kTaskQueries, s_.queries - begin));
    });
  }

 private:
  struct Parts {
    Parts(const AttentionShape& s, Room& room)
        : out(room.take<float>(kTaskQueries * s.width)),
          row_max(room.take<float>(kTaskQueries)),
          row_sum(room.take<float>(kTaskQueries)),
          scores(room.take<float>(kQueryBlock * kKeyBlock)),
          probs(room.take<Bf16>(kQueryBlock * kKeyBlock)),
          k(room, s.width, kKeyBlock),
          v(room, kKeyBlock, s.width) {}
    float *out, *row_max, *row_sum, *scores;
    Bf16* probs;
    Panels k, v;
  };

  void task(std::int64_t batch, std::int64_t head, std::int64_t begin, std::int64_t count) const {
    const std::int64_t d = s_.width, kv_head = head / (s_.heads / s_.kv_heads);
    const Rows q = head_rows<const Bf16>(t_.q, batch, head, d);
    const Rows k = head_rows<const Bf16>(t_.k, batch, kv_head, d);
    const Rows v = head_rows<const Bf16>(t_.v, batch, kv_head, d);
    Room room(scratch_.mine());
    const Parts p(s_, room);
    std::fill_n(p.row_max, count, -std::numeric_limits<float>::infinity());
    std::fill_n(p.row_sum, count, 0.0F);
    // Rows that see none of the first keys begin at zero, others with the product itself.
    if (seen_from(s_, begin, 0) <= 0) std::fill_n(p.out, count * d, 0.0F);
    const std::int64_t last_key = seen_from(s_, begin + count - 1, 0);
    for (std::int64_t key = first_key(s_, batch, begin); key < last_key; key += kKeyBlock) {
      const std::int64_t keys = std::min(kKeyBlock, last_key - key);
      p.k.pack_rows(k, key, keys, d);
      p.v.pack_columns(v, key, keys, d);
      for (std::int64_t i = 0; i < count; i += kQueryBlock) {
        const std::int64_t rows = std::min(kQueryBlock, count - i);
        const ScoreBlock<float> block = score_block(s_, batch, begin + i, rows, key, p.scores);
        const std::int64_t first = first_key(s_, batch, begin + i);
        if (block.cols <= 0 || key < first) continue;
        float* out = p.out + i * d;
        multiply({rows, block.cols, d}, rows_of(q, begin + i), p.k.data, p.k.panel, p.scores,
                 block.cols, false);
        attention_kernels().f32.softmax_step(block, p.row_max + i, p.row_sum + i,
                                             key == first ? nullptr : out, d);
        round_scores(p.scores, rows, block.cols, p.probs);
        multiply({rows, d, block.cols}, along_keys(p.probs), p.v.data, p.v.panel, out, d,
                 key > first);
      }
    }
    const auto y = head_rows<Bf16>(t_.y, batch, head, d);
    attention_kernels().normalise_bf16(p.out, p.row_sum, y.row(begin), y.ld, count, d);
    float* lse = t_.lse.data<float>() + (batch * s_.heads + head) * s_.queries + begin;
    for (std::int64_t i = 0; i < count; ++i) {
      lse[i] = p.row_max[i] + std::log(p.row_sum[i]);
    }
  }

  const AttentionShape& s_;
  const AttentionTensors& t_;
  ThreadScratch scratch_;
};

// One task does all of a key/value head, so that its gradients are summed by one thread in a fixed
// order (algorithm 4 of FlashAttention, queries in the outer loop).
class Backward {
 public:
  Backward(Context& cx, const AttentionShape& s, const AttentionTensors& t, const Tensor& dy,
           const AttentionGradients& g)
      : s_(s), t_(t), dy_(dy), g_(g), scratch_(cx, bytes_of<Parts>(s)) {}

  void run() const {
    run_tasks(s_, s_.batch * s_.kv_heads,
              [&](std::int64_t index) { task(index / s_.kv_heads, index % s_.kv_heads); });
  }

 private:
  struct Parts {
    Parts(const AttentionShape& s, Room& room)
        : k_rows(room, s.width, s.keys),
          v_rows(room, s.width, s.keys),
          k_columns(room, s.keys, s.width),
          q(room, kQueryBlock, s.width),
          dy(room, kQueryBlock, s.width),
          dk(room.take<float>(s.keys * s.width)),
          dv(room.take<float>(s.keys * s.width)),
          dq(room.take<float>(kQueryBlock * s.width)),
          scores(room.take<float>(kQueryBlock * kKeyBlock)),
          d_scores(room.take<float>(kQueryBlock * kKeyBlock)),
          delta(room.take<float>(kQueryBlock)),
          rounded(room.take<Bf16>(kQueryBlock * kKeyBlock)),
          turned(room.take<Bf16>(kQueryBlock * kKeyBlock)) {}
    Panels k_rows, v_rows, k_columns, q, dy;
    float *dk, *dv, *dq, *scores, *d_scores, *delta;
    Bf16 *rounded, *turned;
  };

  void task(std::int64_t batch, std::int64_t kv_head) const {
    const std::int64_t d = s_.width, keys = s_.keys, group = s_.heads / s_.kv_heads;
    const Rows k = head_rows<const Bf16>(t_.k, batch, kv_head, d);
    Room room(scratch_.mine());
    const Parts p(s_, room);
    p.k_rows.pack_rows(k, 0, keys, d);
    p.k_columns.pack_columns(k, 0, keys, d);
    p.v_rows.pack_rows(head_rows<const Bf16>(t_.v, batch, kv_head, d), 0, keys, d);
    std::fill_n(p.dk, keys * d, 0.0F);
    std::fill_n(p.dv, keys * d, 0.0F);
    for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      for (std::int64_t query = 0; query < s_.queries; query += kQueryBlock) {
        queries(batch, head, query, p);
      }
    }
    const auto dk = head_rows<Bf16>(g_.dk, batch, kv_head, d);
    const auto dv = head_rows<Bf16>(g_.dv, batch, kv_head, d);
    linear_kernels().narrow(p.dk, d, dk.data, dk.ld, keys, d);
    linear_kernels().narrow(p.dv, d, dv.data, dv.ld, keys, d);
  }

  void queries(std::int64_t batch, std::int64_t head, std::int64_t query, const Parts& p) const {
    const std::int64_t d = s_.width, rows = std::min(kQueryBlock, s_.queries - query);
    const Rows q = head_rows<const Bf16>(t_.q, batch, head, d);
    const Rows y = head_rows<const Bf16>(t_.y, batch, head, d);
    const Rows dy = head_rows<const Bf16>(dy_, batch, head, d);
    p.q.pack_columns(q, query, rows, d);
    p.dy.pack_columns(dy, query, rows, d);
    attention_kernels().row_dots_bf16(dy.row(query), y.row(query), y.ld, p.delta, rows, d);
    const float* lse = t_.lse.data<float>() + (batch * s_.heads + head) * s_.queries + query;
    const std::int64_t first = first_key(s_, batch, query);
    for (std::int64_t key = first; key < s_.keys; key += kKeyBlock) {
      const ScoreBlock<float> block = score_block(s_, batch, query, rows, key, p.scores);
      const std::int64_t cols = block.cols;
      if (cols <= 0) {
        if (key == first) std::fill_n(p.dq, rows * d, 0.0F);  // they see nothing at all
        break;
      }
      multiply({rows, cols, d}, rows_of(q, query), p.k_rows.from_col(key), p.k_rows.panel, p.scores,
               cols, false);
      multiply({rows, cols, d}, rows_of(dy, query), p.v_rows.from_col(key), p.v_rows.panel,
               p.d_scores, cols, false);
      attention_kernels().f32.gradient_step(block, p.d_scores, lse, p.delta);
      add_transposed({cols, d, rows}, p.scores, p.dy, p, p.dv + key * d);
      add_transposed({cols, d, rows}, p.d_scores, p.q, p, p.dk + key * d);
      // What is rounded last are the gradients of the scores.
      multiply({rows, d, cols}, along_keys(p.rounded), p.k_columns.from_row(key), p.k_columns.panel,
               p.dq, d, key > first);
    }
    const auto dq = head_rows<Bf16>(g_.dq, batch, head, d);
    linear_kernels().narrow(p.dq, d, dq.row(query), dq.ld, rows, d);
  }

  // sums += scores transposed * b; scores are rounded into p.rounded.
  static void add_transposed(Size s, const float* scores, const Panels& b, const Parts& p,
                             float* sums) {
    round_scores(scores, s.depth, s.rows, p.rounded);
    bf16_dot_kernels()->interleave({p.rounded, kKeyBlock}, s.depth, s.rows, kKeyBlock, p.turned);
    multiply(s, {p.turned, 2, 2 * kKeyBlock}, b.data, b.panel, sums, s.cols, true);
  }

  const AttentionShape& s_;
  const AttentionTensors& t_;
  const Tensor& dy_;
  const AttentionGradients& g_;
  ThreadScratch scratch_;
};

}  // namespace

bool dots_attention(const Context& cx, const AttentionShape& s, DType dtype) {
  return dtype == DType::kBf16 && s.width % 2 == 0 && bf16_path(cx) == Bf16Path::kAvx512;
}

void dot_attention_forward(Context& cx, const AttentionShape& s, const AttentionTensors& t) {
  Forward(cx, s, t).run();
}

void dot_attention_backward(Context& cx, const AttentionShape& s, const AttentionTensors& t,
                            const Tensor& dy, const AttentionGradients& g) {
  Backward(cx, s, t, dy, g).run();
}

}  // namespace gradwire::cpu
