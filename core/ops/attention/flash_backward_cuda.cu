#include <type_traits>

#include "core/cuda/pack.h"
#include "core/ops/attention/flash_cuda.h"

namespace gradwire::cuda {
namespace flash {
namespace {

struct BackwardTask {
  const Bf16 *q, *k, *v, *dy;
  const float *lse, *delta;  // [B, heads, T]
  Bf16 *dq, *dk, *dv;
  float *dk_parts, *dv_parts;  // [parts, B, S, kv_heads * D] if parts > 1
  AttentionShape shape;
  std::int64_t tiles;
  // How many blocks share the query heads of a key/value head.
  std::int64_t parts;
};

__device__ __forceinline__ bool hidden(const AttentionShape& s, std::int64_t query,
                                       std::int64_t key) {
  return key >= s.keys || (s.causal && key > s.query_start + query);
}

// The score becomes its probability, d_prob the gradient of the scaled score. The score is scaled
// and rounded as in forward, where lse was made.
__device__ __forceinline__ void to_gradient(float& score, float& d_prob, float scale, float lse,
                                            float delta) {
  score = exp2_fast((__fmul_rn(score, scale) - lse) * kLog2E);
  d_prob = score * (d_prob - delta);
}

template <int kWidth>
struct QueryPlan {
  static constexpr int kWarps = 4, kQueries = 128, kKeys = kWidth <= 64 ? 64 : 32;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kM = kQueries / kWarps / kFragmentRows;
  static constexpr int kN = kKeys / kFragmentCols;
  // Queries and their dy, and keys and values twice.
  static constexpr std::size_t kBytes =
      std::size_t{2 * kQueries + 4 * kKeys} * kTileStride<kWidth> * sizeof(Bf16);
};

// dq of a tile of queries of one head.
template <int kWidth>
__global__ void __launch_bounds__(QueryPlan<kWidth>::kThreads, 2)
    query_gradient_kernel(const BackwardTask a) {
  using P = QueryPlan<kWidth>;
  constexpr int kTile = P::kKeys * kTileStride<kWidth>;
  extern __shared__ __align__(16) unsigned char shared[];
  Bf16* const queries = reinterpret_cast<Bf16*>(shared);
  Bf16* const outer = queries + P::kQueries * kTileStride<kWidth>;
  Bf16* const keys = outer + P::kQueries * kTileStride<kWidth>;
  Bf16* const values = keys + 2 * kTile;

  const AttentionShape& s = a.shape;
  const std::int64_t head_of_batch = blockIdx.x % (s.batch * s.heads);
  const std::int64_t b = head_of_batch / s.heads, h = head_of_batch % s.heads;
  const std::int64_t kv = h / (s.heads / s.kv_heads);
  const std::int64_t first = (a.tiles - 1 - blockIdx.x / (s.batch * s.heads)) * P::kQueries;
  const std::int64_t last = min(first + P::kQueries, s.queries) - 1;
  const std::int64_t seen = s.causal ? min(s.keys, s.query_start + last + 1) : s.keys;
  const std::int64_t seen_by_all = s.causal ? min(s.keys, s.query_start + first + 1) : s.keys;

  const auto k_rows = rows_of(a.k, b, s.keys, s.kv_heads, kv, s.width);
  const auto v_rows = rows_of(a.v, b, s.keys, s.kv_heads, kv, s.width);
  const auto load = [&](std::int64_t key, int slot) {
    load_tile<P::kKeys, kWidth, P::kThreads>(keys + slot * kTile, k_rows, key, s.keys, s.width);
    load_tile<P::kKeys, kWidth, P::kThreads>(values + slot * kTile, v_rows, key, s.keys, s.width);
    end_copy_group();
  };
  load_tile<P::kQueries, kWidth, P::kThreads>(
      queries, rows_of(a.q, b, s.queries, s.heads, h, s.width), first, s.queries, s.width);
  load_tile<P::kQueries, kWidth, P::kThreads>(
      outer, rows_of(a.dy, b, s.queries, s.heads, h, s.width), first, s.queries, s.width);
  load(0, 0);

  const int warp_row = static_cast<int>(threadIdx.x) / kWarp * (P::kQueries / P::kWarps);
  const float scale = static_cast<float>(s.scale);
  float lse[P::kM][2], delta[P::kM][2];
#pragma unroll
  for (int m = 0; m < P::kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t query = first + warp_row + m * kFragmentRows + row_in(2 * half);
      const std::int64_t at = (b * s.heads + h) * s.queries + query;
      lse[m][half] = query < s.queries ? a.lse[at] : 0.0F;
      delta[m][half] = query < s.queries ? a.delta[at] : 0.0F;
    }
  }
  ResultFragment dq[P::kM][kWidth / kFragmentCols];
  set_zero(dq);
  int slot = 0;
  for (std::int64_t key = 0; key < seen; key += P::kKeys, slot ^= 1) {
    if (key + P::kKeys < seen) {
      load(key + P::kKeys, slot ^ 1);
      await_copy_groups<1>();
    } else {
      await_copy_groups<0>();
    }
    __syncthreads();
    ResultFragment scores[P::kM][P::kN], d_probs[P::kM][P::kN];
    set_zero(scores);
    set_zero(d_probs);
    add_row_products<kWidth>(scores, queries, warp_row, keys + slot * kTile);
    add_row_products<kWidth>(d_probs, outer, warp_row, values + slot * kTile);
    const bool some_hidden = key + P::kKeys > seen_by_all;
#pragma unroll
    for (int m = 0; m < P::kM; ++m) {
#pragma unroll
      for (int n = 0; n < P::kN; ++n) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          to_gradient(scores[m][n].v[c], d_probs[m][n].v[c], scale, lse[m][c / 2], delta[m][c / 2]);
          const std::int64_t query = first + warp_row + m * kFragmentRows + row_in(c);
          if (some_hidden && hidden(s, query, key + column_in(n, c))) d_probs[m][n].v[c] = 0.0F;
        }
      }
    }
    add_weighted_rows<kWidth>(dq, d_probs, keys + slot * kTile);
    __syncthreads();
  }

  const auto dq_rows = rows_of(a.dq, b, s.queries, s.heads, h, s.width);
#pragma unroll
  for (int m = 0; m < P::kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const std::int64_t query = first + warp_row + m * kFragmentRows + row_in(2 * half);
      if (query < s.queries) store_row(dq_rows.row(query), dq[m], half, scale, s.width);
    }
  }
}

// Wide heads leave a warp the registers for 16 keys only.
template <int kWidth>
struct KeyPlan {
  static constexpr int kM = kWidth <= 64 ? 2 : 1;
  static constexpr int kKeys = 128, kQueries = kWidth <= 64 ? 32 : 64;
  static constexpr int kWarps = kKeys / (kM * kFragmentRows);
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kN = kQueries / kFragmentCols;
  static constexpr std::size_t kTile = std::size_t{kQueries} * kTileStride<kWidth>;
  // Keys and values; queries, their dy, lse and delta twice.
  static constexpr std::size_t kBytes =
      (std::size_t{2 * kKeys} * kTileStride<kWidth> + 4 * kTile) * sizeof(Bf16) +
      4 * kQueries * sizeof(float);
};

// dk and dv of a tile of keys of one key/value head, added up over a.parts-th of the query heads
// that it serves. Scores are transposed here, a row for each key: probabilities then are in place
// as the left operand of both products.
template <int kWidth>
__global__ void __launch_bounds__(KeyPlan<kWidth>::kThreads, kWidth <= 64 ? 2 : 1)
    key_gradient_kernel(const BackwardTask a) {
  using P = KeyPlan<kWidth>;
  extern __shared__ __align__(16) unsigned char shared[];
  Bf16* const keys = reinterpret_cast<Bf16*>(shared);
  Bf16* const values = keys + P::kKeys * kTileStride<kWidth>;
  Bf16* const queries = values + P::kKeys * kTileStride<kWidth>;
  Bf16* const outer = queries + 2 * P::kTile;
  float* const statistics = reinterpret_cast<float*>(outer + 2 * P::kTile);

  const AttentionShape& s = a.shape;
  const std::int64_t units = s.batch * s.kv_heads * a.parts;
  const std::int64_t unit = blockIdx.x % units;
  const std::int64_t part = unit % a.parts, kv = unit / a.parts % s.kv_heads;
  const std::int64_t b = unit / a.parts / s.kv_heads;
  const std::int64_t key = blockIdx.x / units * P::kKeys;  // the first tiles have most queries
  const std::int64_t heads = s.heads / s.kv_heads / a.parts;
  const std::int64_t first_head = kv * (s.heads / s.kv_heads) + part * heads;
  // The first query that sees any of the keys, at the beginning of its tile.
  const std::int64_t first_seeing = s.causal ? max(key - s.query_start, std::int64_t{0}) : 0;
  const std::int64_t first_query = first_seeing / P::kQueries * P::kQueries;
  const std::int64_t per_head =
      first_query < s.queries ? (s.queries - first_query + P::kQueries - 1) / P::kQueries : 0;

  const auto load = [&](std::int64_t step, int slot) {
    const std::int64_t h = first_head + step / per_head;
    const std::int64_t query = first_query + step % per_head * P::kQueries;
    load_tile<P::kQueries, kWidth, P::kThreads>(queries + slot * P::kTile,
                                                rows_of(a.q, b, s.queries, s.heads, h, s.width),
                                                query, s.queries, s.width);
    load_tile<P::kQueries, kWidth, P::kThreads>(outer + slot * P::kTile,
                                                rows_of(a.dy, b, s.queries, s.heads, h, s.width),
                                                query, s.queries, s.width);
    if (threadIdx.x < 2 * P::kQueries) {
      const float* from = threadIdx.x < P::kQueries ? a.lse : a.delta;
      const std::int64_t row = query + threadIdx.x % P::kQueries;
      const bool present = row < s.queries;
      copy_4_bytes(statistics + slot * 2 * P::kQueries + threadIdx.x,
                   present ? from + (b * s.heads + h) * s.queries + row : from, present);
    }
    end_copy_group();
  };
  load_tile<P::kKeys, kWidth, P::kThreads>(keys, rows_of(a.k, b, s.keys, s.kv_heads, kv, s.width),
                                           key, s.keys, s.width);
  load_tile<P::kKeys, kWidth, P::kThreads>(values, rows_of(a.v, b, s.keys, s.kv_heads, kv, s.width),
                                           key, s.keys, s.width);
  const std::int64_t steps = heads * per_head;
  if (steps > 0) load(0, 0);

  const int warp_row = static_cast<int>(threadIdx.x) / kWarp * (P::kM * kFragmentRows);
  const float scale = static_cast<float>(s.scale);
  ResultFragment dk[P::kM][kWidth / kFragmentCols], dv[P::kM][kWidth / kFragmentCols];
  set_zero(dk);
  set_zero(dv);
  for (std::int64_t step = 0; step < steps; ++step) {
    const int slot = static_cast<int>(step % 2);
    if (step + 1 < steps) {
      load(step + 1, slot ^ 1);
      await_copy_groups<1>();
    } else {
      await_copy_groups<0>();
    }
    __syncthreads();
    const Bf16* q_tile = queries + slot * P::kTile;
    const Bf16* dy_tile = outer + slot * P::kTile;
    const float* lse = statistics + slot * 2 * P::kQueries;
    const float* delta = lse + P::kQueries;
    ResultFragment scores[P::kM][P::kN], d_probs[P::kM][P::kN];
    set_zero(scores);
    set_zero(d_probs);
    add_row_products<kWidth>(scores, keys, warp_row, q_tile);
    add_row_products<kWidth>(d_probs, values, warp_row, dy_tile);
    const std::int64_t query = first_query + step % per_head * P::kQueries;
    // Queries beyond the last have zeros for q, dy and delta and add nothing.
    const bool some_hidden = s.causal && key + P::kKeys - 1 > s.query_start + query;
#pragma unroll
    for (int m = 0; m < P::kM; ++m) {
#pragma unroll
      for (int n = 0; n < P::kN; ++n) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          const int column = column_in(n, c);
          to_gradient(scores[m][n].v[c], d_probs[m][n].v[c], scale, lse[column], delta[column]);
          const std::int64_t row = key + warp_row + m * kFragmentRows + row_in(c);
          if (some_hidden && hidden(s, query + column, row)) {
            scores[m][n].v[c] = 0.0F;
            d_probs[m][n].v[c] = 0.0F;
          }
        }
      }
    }
    add_weighted_rows<kWidth>(dv, scores, dy_tile);
    add_weighted_rows<kWidth>(dk, d_probs, q_tile);
    __syncthreads();
  }
  await_copy_groups<0>();  // of the keys, if no query sees them

  const auto store = [&](auto* dk_to, auto* dv_to) {
    const auto dk_rows = rows_of(dk_to, b, s.keys, s.kv_heads, kv, s.width);
    const auto dv_rows = rows_of(dv_to, b, s.keys, s.kv_heads, kv, s.width);
#pragma unroll
    for (int m = 0; m < P::kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const std::int64_t row = key + warp_row + m * kFragmentRows + row_in(2 * half);
        if (row >= s.keys) continue;
        store_row(dk_rows.row(row), dk[m], half, scale, s.width);
        store_row(dv_rows.row(row), dv[m], half, 1.0F, s.width);
      }
    }
  };
  if (a.parts == 1) {
    store(a.dk, a.dv);
  } else {
    const std::int64_t elements = s.batch * s.keys * s.kv_heads * s.width;
    store(a.dk_parts + part * elements, a.dv_parts + part * elements);
  }
}

// out[i] = the sum of the parts, in order.
struct SumOfParts {
  const float* parts;
  std::int64_t count, stride;
  Bf16* out;

  template <int kN>
  __device__ void at(std::int64_t i) const {
    float sum[kN] = {};
    for (std::int64_t p = 0; p < count; ++p) {
      const auto pack = load_pack<kN>(parts + p * stride + i);
#pragma unroll
      for (int j = 0; j < kN; ++j)
        sum[j] += pack.v[j];
    }
    Pack<Bf16, kN> rounded;
#pragma unroll
    for (int j = 0; j < kN; ++j)
      rounded.v[j] = Bf16(sum[j]);
    store_pack(out + i, rounded);
  }
};

// Parts of the group of query heads: so many that there are blocks enough for a large device.
std::int64_t parts_for(const AttentionShape& s, std::int64_t tiles) {
  constexpr std::int64_t kEnoughBlocks = 512;
  const std::int64_t group = s.heads / s.kv_heads;
  std::int64_t parts = 1;
  for (std::int64_t p = 1; p <= group && parts * tiles * s.batch * s.kv_heads < kEnoughBlocks;
       ++p) {
    if (group % p == 0) parts = p;
  }
  return parts;
}

template <int kWidth>
void key_gradients(Context& cx, BackwardTask task) {
  using P = KeyPlan<kWidth>;
  const AttentionShape& s = task.shape;
  task.tiles = (s.keys + P::kKeys - 1) / P::kKeys;
  task.parts = parts_for(s, task.tiles);
  const std::int64_t elements = s.batch * s.keys * s.kv_heads * s.width;
  Tensor sums;
  if (task.parts > 1) {
    Context scratch = cx.in(Segment::kScratch);
    sums = Tensor::empty(scratch, {2 * task.parts * elements}, DType::kF32);
    task.dk_parts = sums.data<float>();
    task.dv_parts = task.dk_parts + task.parts * elements;
  }
  const std::int64_t blocks = task.tiles * s.batch * s.kv_heads * task.parts;
  launch(cx.stream, Grid{static_cast<unsigned>(blocks), P::kThreads, P::kBytes},
         key_gradient_kernel<kWidth>, task);
  if (task.parts > 1) {
    each<4>(cx.stream, elements, true, SumOfParts{task.dk_parts, task.parts, elements, task.dk});
    each<4>(cx.stream, elements, true, SumOfParts{task.dv_parts, task.parts, elements, task.dv});
  }
}

template <int kWidth>
void query_gradients(Context& cx, BackwardTask task) {
  using P = QueryPlan<kWidth>;
  const AttentionShape& s = task.shape;
  task.tiles = (s.queries + P::kQueries - 1) / P::kQueries;
  launch(cx.stream,
         Grid{static_cast<unsigned>(task.tiles * s.batch * s.heads), P::kThreads, P::kBytes},
         query_gradient_kernel<kWidth>, task);
}

}  // namespace
}  // namespace flash

void flash_backward(Context& cx, const AttentionShape& s, const AttentionTensors& t,
                    const Tensor& dy, const Tensor& delta, const AttentionGradients& g) {
  const flash::BackwardTask task{
      .q = t.q.data<Bf16>(),
      .k = t.k.data<Bf16>(),
      .v = t.v.data<Bf16>(),
      .dy = dy.data<Bf16>(),
      .lse = t.lse.data<float>(),
      .delta = delta.data<float>(),
      .dq = g.dq.data<Bf16>(),
      .dk = g.dk.data<Bf16>(),
      .dv = g.dv.data<Bf16>(),
      .dk_parts = nullptr,
      .dv_parts = nullptr,
      .shape = s,
      .tiles = 0,
      .parts = 1,
  };
  flash::on_head_width(s.width, [&](auto width) {
    flash::key_gradients<decltype(width)::value>(cx, task);
    flash::query_gradients<decltype(width)::value>(cx, task);
  });
}

}  // namespace gradwire::cuda
