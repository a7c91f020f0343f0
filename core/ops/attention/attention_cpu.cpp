#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "core/dispatch.h"
#include "core/ops/attention/attention_blocks.h"
#include "core/ops/attention/attention_dot.h"
#include "core/ops/linear/block_gemm.h"
#include "core/ops/linear/linear_kernels.h"
#include "core/ops/linear/thread_scratch.h"

namespace gradwire::cpu {
namespace {

template <class T>
const AttentionLoops<Compute<T>>& loops() {
  if constexpr (std::is_same_v<T, double>) {
    return attention_kernels().f64;
  } else {
    return attention_kernels().f32;
  }
}

template <class T>
void normalise(const Compute<T>* out, const Compute<T>* row_sum, T* y, std::int64_t ld,
               std::int64_t rows, std::int64_t width) {
  const AttentionKernels& k = attention_kernels();
  if constexpr (std::is_same_v<T, double>) {
    k.normalise_f64(out, row_sum, y, ld, rows, width);
  } else if constexpr (std::is_same_v<T, float>) {
    k.normalise_f32(out, row_sum, y, ld, rows, width);
  } else {
    k.normalise_bf16(out, row_sum, y, ld, rows, width);
  }
}

template <class T>
void row_dots(const T* a, const T* b, std::int64_t ld, Compute<T>* dots, std::int64_t rows,
              std::int64_t width) {
  const AttentionKernels& k = attention_kernels();
  if constexpr (std::is_same_v<T, double>) {
    k.row_dots_f64(a, b, ld, dots, rows, width);
  } else if constexpr (std::is_same_v<T, float>) {
    k.row_dots_f32(a, b, ld, dots, rows, width);
  } else {
    k.row_dots_bf16(a, b, ld, dots, rows, width);
  }
}

// The rows as the product reads them: themselves, or widened into `room`.
template <class T>
Block<const Compute<T>> wide(HeadRows<const T> x, std::int64_t begin, std::int64_t rows,
                             std::int64_t width, Compute<T>* room) {
  if constexpr (std::is_same_v<T, Bf16>) {
    linear_kernels().widen(x.row(begin), x.ld, room, width, rows, width);
    return {room, width};
  } else {
    return {x.row(begin), x.ld};
  }
}

// Where a product adds up rows of an output: the output itself, or `room` until narrow() is called.
template <class T>
Block<Compute<T>> sums(HeadRows<T> x, std::int64_t begin, std::int64_t width, Compute<T>* room) {
  if constexpr (std::is_same_v<T, Bf16>) {
    return {room, width};
  } else {
    return {x.row(begin), x.ld};
  }
}

template <class T>
void narrow(Block<Compute<T>> from, HeadRows<T> x, std::int64_t begin, std::int64_t rows,
            std::int64_t width) {
  if constexpr (std::is_same_v<T, Bf16>) {
    linear_kernels().narrow(from.data, from.ld, x.row(begin), x.ld, rows, width);
  }
}

template <class C>
void clear(Block<C> x, std::int64_t rows, std::int64_t width) {
  for (std::int64_t r = 0; r < rows; ++r) {
    std::fill_n(x.data + r * x.ld, width, C(0));
  }
}

template <class C>
Block<const C> part(Block<const C> x, std::int64_t row) {
  return {x.data + row * x.ld, x.ld};
}
template <class C>
Block<C> part(Block<C> x, std::int64_t row) requires(!std::is_const_v<C>) {
  return {x.data + row * x.ld, x.ld};
}
template <class C>
Block<const C> transposed(const C* data, std::int64_t ld) {
  return {data, ld, true};
}

template <class T>
class Forward {
  using C = Compute<T>;

 public:
  Forward(Context& cx, const AttentionShape& s, const AttentionTensors& t)
      : s_(s), t_(t), scratch_(cx, sizeof(C) * room()) {}

  void run() const {
    const std::int64_t parts = (s_.queries + kTaskQueries - 1) / kTaskQueries;
    run_tasks(s_, s_.batch * s_.heads * parts, [&](std::int64_t index) {
      const std::int64_t begin = index % parts * kTaskQueries, head = index / parts % s_.heads;
      task(index / parts / s_.heads, head, begin, std::min(kTaskQueries, s_.queries - begin));
    });
  }

 private:
  std::size_t room() const {
    return static_cast<std::size_t>((2 * kKeyBlock + kQueryBlock + kTaskQueries) * s_.width +
                                    kQueryBlock * kKeyBlock + 2 * kTaskQueries);
  }

  void task(std::int64_t batch, std::int64_t head, std::int64_t begin, std::int64_t count) const {
    const SingleThreadScope single;
    const std::int64_t d = s_.width, kv_head = head / (s_.heads / s_.kv_heads);
    const auto q = head_rows<const T>(t_.q, batch, head, d);
    const auto k = head_rows<const T>(t_.k, batch, kv_head, d);
    const auto v = head_rows<const T>(t_.v, batch, kv_head, d);
    C* out = reinterpret_cast<C*>(scratch_.mine());
    C* row_max = out + kTaskQueries * d;
    C* row_sum = row_max + kTaskQueries;
    C* scores = row_sum + kTaskQueries;
    C* rooms = scores + kQueryBlock * kKeyBlock;
    std::fill_n(row_max, count, -std::numeric_limits<C>::infinity());
    std::fill_n(row_sum, count, C(0));
    // Rows that see none of the first keys begin at zero, others with the product itself.
    if (seen_from(s_, begin, 0) <= 0) std::fill_n(out, count * d, C(0));
    const std::int64_t last_key = seen_from(s_, begin + count - 1, 0);
    for (std::int64_t key = first_key(s_, batch, begin); key < last_key; key += kKeyBlock) {
      const std::int64_t keys = std::min(kKeyBlock, last_key - key);
      const Block<const C> kb = wide<T>(k, key, keys, d, rooms + kQueryBlock * d);
      const Block<const C> vb = wide<T>(v, key, keys, d, rooms + (kQueryBlock + kKeyBlock) * d);
      for (std::int64_t i = 0; i < count; i += kQueryBlock) {
        const std::int64_t rows = std::min(kQueryBlock, count - i);
        const ScoreBlock<C> block = score_block(s_, batch, begin + i, rows, key, scores);
        const std::int64_t first = first_key(s_, batch, begin + i);
        if (block.cols <= 0 || key < first) continue;
        const Block<const C> qb = wide<T>(q, begin + i, rows, d, rooms);
        C* o = out + i * d;
        block_gemm({rows, block.cols, d}, qb, transposed(kb.data, kb.ld), C(0),
                   {scores, block.cols});
        loops<T>().softmax_step(block, row_max + i, row_sum + i, key == first ? nullptr : o, d);
        block_gemm({rows, d, block.cols}, {scores, block.cols}, vb, key == first ? C(0) : C(1),
                   {o, d});
      }
    }
    const auto y = head_rows<T>(t_.y, batch, head, d);
    normalise<T>(out, row_sum, y.row(begin), y.ld, count, d);
    C* lse = t_.lse.template data<C>() + (batch * s_.heads + head) * s_.queries + begin;
    for (std::int64_t i = 0; i < count; ++i) {
      lse[i] = row_max[i] + std::log(row_sum[i]);
    }
  }

  const AttentionShape& s_;
  const AttentionTensors& t_;
  ThreadScratch scratch_;
};

// One task does all of a key/value head, so that its gradients are summed by one thread in a fixed
// order (algorithm 4 of FlashAttention, queries in the outer loop).
template <class T>
class Backward {
  using C = Compute<T>;
  static constexpr bool kWidens = std::is_same_v<T, Bf16>;

 public:
  Backward(Context& cx, const AttentionShape& s, const AttentionTensors& t, const Tensor& dy,
           const AttentionGradients& g)
      : s_(s), t_(t), dy_(dy), g_(g), scratch_(cx, sizeof(C) * room()) {}

  void run() const {
    run_tasks(s_, s_.batch * s_.kv_heads,
              [&](std::int64_t index) { task(index / s_.kv_heads, index % s_.kv_heads); });
  }

 private:
  struct KeyRows {
    Block<const C> k, v;
    Block<C> dk, dv;
  };

  std::size_t room() const {
    const std::int64_t key_rooms = kWidens ? 4 * s_.keys * s_.width : 0;
    return static_cast<std::size_t>(key_rooms + 3 * kQueryBlock * s_.width +
                                    2 * kQueryBlock * kKeyBlock + kQueryBlock);
  }

  void task(std::int64_t batch, std::int64_t kv_head) const {
    const SingleThreadScope single;
    const std::int64_t d = s_.width, keys = s_.keys, group = s_.heads / s_.kv_heads;
    C* rooms = reinterpret_cast<C*>(scratch_.mine());
    const auto dk = head_rows<T>(g_.dk, batch, kv_head, d);
    const auto dv = head_rows<T>(g_.dv, batch, kv_head, d);
    const KeyRows rows{
        wide<T>(head_rows<const T>(t_.k, batch, kv_head, d), 0, keys, d, rooms),
        wide<T>(head_rows<const T>(t_.v, batch, kv_head, d), 0, keys, d, rooms + keys * d),
        sums<T>(dk, 0, d, rooms + 2 * keys * d), sums<T>(dv, 0, d, rooms + 3 * keys * d)};
    clear(rows.dk, keys, d);
    clear(rows.dv, keys, d);
    for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      for (std::int64_t query = 0; query < s_.queries; query += kQueryBlock) {
        queries(batch, head, query, rows, rooms + (kWidens ? 4 * keys * d : 0));
      }
    }
    narrow<T>(rows.dk, dk, 0, keys, d);
    narrow<T>(rows.dv, dv, 0, keys, d);
  }

  void queries(std::int64_t batch, std::int64_t head, std::int64_t query, const KeyRows& all,
               C* rooms) const {
    const std::int64_t d = s_.width, rows = std::min(kQueryBlock, s_.queries - query);
    const auto y = head_rows<const T>(t_.y, batch, head, d);
    const auto dy = head_rows<const T>(dy_, batch, head, d);
    const auto dq = head_rows<T>(g_.dq, batch, head, d);
    C* scores = rooms + 3 * kQueryBlock * d;
    C* d_scores = scores + kQueryBlock * kKeyBlock;
    C* delta = d_scores + kQueryBlock * kKeyBlock;
    const auto qb = wide<T>(head_rows<const T>(t_.q, batch, head, d), query, rows, d, rooms);
    const auto dyb = wide<T>(dy, query, rows, d, rooms + kQueryBlock * d);
    const Block<C> dqb = sums<T>(dq, query, d, rooms + 2 * kQueryBlock * d);
    row_dots<T>(dy.row(query), y.row(query), y.ld, delta, rows, d);
    const C* lse = t_.lse.template data<C>() + (batch * s_.heads + head) * s_.queries + query;
    const std::int64_t first = first_key(s_, batch, query);
    for (std::int64_t key = first; key < s_.keys; key += kKeyBlock) {
      const ScoreBlock<C> block = score_block(s_, batch, query, rows, key, scores);
      const std::int64_t cols = block.cols;
      if (cols <= 0) {
        if (key == first) clear(dqb, rows, d);  // they see nothing at all
        break;
      }
      const Block<const C> kb = part(all.k, key), vb = part(all.v, key);
      block_gemm({rows, cols, d}, qb, transposed(kb.data, kb.ld), C(0), {scores, cols});
      block_gemm({rows, cols, d}, dyb, transposed(vb.data, vb.ld), C(0), {d_scores, cols});
      loops<T>().gradient_step(block, d_scores, lse, delta);
      const auto probs = transposed<C>(scores, cols), d_probs = transposed<C>(d_scores, cols);
      block_gemm({cols, d, rows}, probs, dyb, C(1), part(all.dv, key));
      block_gemm({cols, d, rows}, d_probs, qb, C(1), part(all.dk, key));
      block_gemm({rows, d, cols}, {d_scores, cols}, kb, key == first ? C(0) : C(1), dqb);
    }
    narrow<T>(dqb, dq, query, rows, d);
  }

  const AttentionShape& s_;
  const AttentionTensors& t_;
  const Tensor& dy_;
  const AttentionGradients& g_;
  ThreadScratch scratch_;
};

}  // namespace

void attention_forward(Context& cx, const AttentionShape& s, const AttentionTensors& t) {
  if (dots_attention(cx, s, t.q.dtype())) return dot_attention_forward(cx, s, t);
  on_float(t.q.dtype(), [&](auto type) { Forward<typename decltype(type)::type>(cx, s, t).run(); });
}

void attention_backward(Context& cx, const AttentionShape& s, const AttentionTensors& t,
                        const Tensor& dy, const AttentionGradients& g) {
  if (dots_attention(cx, s, t.q.dtype())) return dot_attention_backward(cx, s, t, dy, g);
  on_float(t.q.dtype(),
           [&](auto type) { Backward<typename decltype(type)::type>(cx, s, t, dy, g).run(); });
}

}  // namespace gradwire::cpu
