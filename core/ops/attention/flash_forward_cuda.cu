#include <type_traits>

#include "core/cuda/pack.h"
#include "core/ops/attention/flash_cuda.h"

namespace gradwire::cuda {
namespace flash {
namespace {

// A block takes kQueries queries of one head, a warp kQueries / kWarps of them.
struct ForwardPlan {
  static constexpr int kWarps = 4, kQueries = 128, kKeys = 64;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kM = kQueries / kWarps / kFragmentRows;
  static constexpr int kN = kKeys / kFragmentCols;
};

template <int kWidth>
constexpr std::size_t forward_bytes() {  // the queries, and keys and values twice
  return std::size_t{ForwardPlan::kQueries + 4 * ForwardPlan::kKeys} * kTileStride<kWidth> *
         sizeof(Bf16);
}

struct ForwardTask {
  const Bf16 *q, *k, *v;
  Bf16* y;
  float* lse;
  AttentionShape shape;
  std::int64_t tiles;  // of queries
};

// The running softmax of the rows that a thread has values of.
template <int kM>
struct OnlineSoftmax {
  float most[kM][2];
  float sum[kM][2];  // of this thread's columns alone

  __device__ void start() {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        most[m][half] = -INFINITY;
        sum[m][half] = 0.0F;
      }
    }
  }

  // Scores become exp(scale (score - maximum)); what was added up so far is brought to the new
  // maximum. The difference is taken before it is scaled: it is then exactly zero at the maximum,
  // however large the scores are.
  template <int kN, int kD>
  __device__ void take(ResultFragment (&scores)[kM][kN], ResultFragment (&out)[kM][kD],
                       float log2_scale) {
#pragma unroll
    for (int m = 0; m < kM; ++m) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = most[m][half];
#pragma unroll
        for (int n = 0; n < kN; ++n) {
          largest = fmaxf(largest, scores[m][n].v[2 * half]);
          largest = fmaxf(largest, scores[m][n].v[2 * half + 1]);
        }
        largest = fmaxf(largest, __shfl_xor_sync(0xFFFFFFFFu, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xFFFFFFFFu, largest, 2));
        const float base = largest == -INFINITY ? 0.0F : largest;
        const float shrink = exp2_fast((most[m][half] - base) * log2_scale);
        most[m][half] = largest;
        float added = 0.0F;
#pragma unroll
        for (int n = 0; n < kN; ++n) {
#pragma unroll
          for (int c = 2 * half; c < 2 * half + 2; ++c) {
            scores[m][n].v[c] = exp2_fast((scores[m][n].v[c] - base) * log2_scale);
            added += scores[m][n].v[c];
          }
        }
        sum[m][half] = sum[m][half] * shrink + added;
#pragma unroll
        for (int d = 0; d < kD; ++d) {
          out[m][d].v[2 * half] *= shrink;
          out[m][d].v[2 * half + 1] *= shrink;
        }
      }
    }
  }
};

template <int kWidth>
__global__ void __launch_bounds__(ForwardPlan::kThreads, 2) forward_kernel(const ForwardTask a) {
  using P = ForwardPlan;
  constexpr int kTile = P::kKeys * kTileStride<kWidth>;
  extern __shared__ __align__(16) unsigned char shared[];
  Bf16* const queries = reinterpret_cast<Bf16*>(shared);
  Bf16* const keys = queries + P::kQueries * kTileStride<kWidth>;
  Bf16* const values = keys + 2 * kTile;

  const AttentionShape& s = a.shape;
  const std::int64_t head_of_batch = blockIdx.x % (s.batch * s.heads);
  const std::int64_t b = head_of_batch / s.heads, h = head_of_batch % s.heads;
  const std::int64_t kv = h / (s.heads / s.kv_heads);
  // The tiles that see most keys come first.
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
  load(0, 0);

  const int warp_row = static_cast<int>(threadIdx.x) / kWarp * (P::kQueries / P::kWarps);
  const float log2_scale = static_cast<float>(s.scale) * kLog2E;
  OnlineSoftmax<P::kM> softmax;
  softmax.start();
  ResultFragment out[P::kM][kWidth / kFragmentCols];
  set_zero(out);
  int slot = 0;
  for (std::int64_t key = 0; key < seen; key += P::kKeys, slot ^= 1) {
    if (key + P::kKeys < seen) {
      load(key + P::kKeys, slot ^ 1);
      await_copy_groups<1>();
    } else {
      await_copy_groups<0>();
    }
    __syncthreads();
    ResultFragment scores[P::kM][P::kN];
    set_zero(scores);
    add_row_products<kWidth>(scores, queries, warp_row, keys + slot * kTile);
    if (key + P::kKeys > seen_by_all) {
#pragma unroll
      for (int m = 0; m < P::kM; ++m) {
#pragma unroll
        for (int n = 0; n < P::kN; ++n) {
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            const std::int64_t query = first + warp_row + m * kFragmentRows + row_in(c);
            const std::int64_t column = key + column_in(n, c);
            const bool hidden = column >= s.keys || (s.causal && column > s.query_start + query);
            if (hidden) scores[m][n].v[c] = -INFINITY;
          }
        }
      }
    }
    softmax.take(scores, out, log2_scale);
    add_weighted_rows<kWidth>(out, scores, values + slot * kTile);
    __syncthreads();  // the tile may be written over
  }

  const auto y_rows = rows_of(a.y, b, s.queries, s.heads, h, s.width);
#pragma unroll
  for (int m = 0; m < P::kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = softmax.sum[m][half];
      sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 1);
      sum += __shfl_xor_sync(0xFFFFFFFFu, sum, 2);
      const std::int64_t query = first + warp_row + m * kFragmentRows + row_in(2 * half);
      if (query >= s.queries) continue;
      store_row(y_rows.row(query), out[m], half, sum > 0.0F ? 1.0F / sum : 0.0F, s.width);
      if (threadIdx.x % 4 == 0) {
        const float most = __fmul_rn(softmax.most[m][half], static_cast<float>(s.scale));
        a.lse[(b * s.heads + h) * s.queries + query] = most + logf(sum);
      }
    }
  }
}

}  // namespace
}  // namespace flash

bool flash_takes(const AttentionShape& s, const AttentionTensors& t) {
  return t.q.dtype() == DType::kBf16 && s.width <= kWidestFlashHead && s.width % 8 == 0 &&
         aligned_for<8>(t.q.data<Bf16>(), t.k.data<Bf16>(), t.v.data<Bf16>(), t.y.data<Bf16>());
}

void flash_forward(Context& cx, const AttentionShape& s, const AttentionTensors& t) {
  using P = flash::ForwardPlan;
  const std::int64_t tiles = (s.queries + P::kQueries - 1) / P::kQueries;
  flash::on_head_width(s.width, [&](auto width) {
    constexpr int kWidth = decltype(width)::value;
    launch(cx.stream,
           Grid{static_cast<unsigned>(tiles * s.batch * s.heads), P::kThreads,
                flash::forward_bytes<kWidth>()},
           flash::forward_kernel<kWidth>,
           flash::ForwardTask{t.q.data<Bf16>(), t.k.data<Bf16>(), t.v.data<Bf16>(),
                              t.y.data<Bf16>(), t.lse.data<float>(), s, tiles});
  });
}

}  // namespace gradwire::cuda
