#include <algorithm>
#include <utility>

#include "core/cuda/pack.h"
#include "core/cuda/reduce.h"
#include "core/dispatch.h"
#include "core/math.h"
#include "core/ops/attention/flash_cuda.h"
#include "core/ops/linear/gemm.h"

namespace gradwire::cuda {
namespace {

// Products run over the key/value heads of one batch entry at once, for one of the query heads
// that each of them serves, and for as many queries as keep the scores within kMostScores.
constexpr std::int64_t kMostScores = std::int64_t{1} << 25;

struct Part {
  std::int64_t batch, member;  // query head g * group + member for every key/value head g
  std::int64_t query, rows;
  std::int64_t cols, ld;  // keys that any of the queries sees; rows of the scores are ld apart
};

// One row of scores per block: row r of head g.
template <class T>
struct ScoreRows {
  Compute<T>* scores;   // [kv_heads, rows, ld]
  Compute<T>* d_probs;  // backward only
  T* probs;             // may be the scores
  T* d_scores;          // backward only; may be d_probs
  Compute<T>* lse;      // [batch, heads, queries]
  const Compute<T>* delta;
  AttentionShape shape;
  Part part;
};

// Where row r of head g stands in lse and delta.
__device__ std::int64_t statistics_at(const AttentionShape& s, const Part& p, std::int64_t g,
                                      std::int64_t r) {
  const std::int64_t head = g * (s.heads / s.kv_heads) + p.member;
  return (p.batch * s.heads + head) * s.queries + p.query + r;
}

__device__ std::int64_t keys_seen(const AttentionShape& s, const Part& p, std::int64_t r) {
  const std::int64_t seen = s.query_start + p.query + r + 1;
  return s.causal && seen < p.cols ? seen : p.cols;
}

// The product rounded by itself. Left to the compiler it would become part of a fused multiply-add:
// scale * score - maximum is then not zero at the maximum, and for huge scores not even finite.
__device__ float scaled(float score, float scale) {
  return __fmul_rn(score, scale);
}
__device__ double scaled(double score, double scale) {
  return __dmul_rn(score, scale);
}

// probs = softmax(scale scores) of the keys a row sees, zero beyond; the log-sum is kept.
template <class T>
__global__ void __launch_bounds__(kBlock) probability_kernel(ScoreRows<T> a) {
  using C = Compute<T>;
  const C scale = static_cast<C>(a.shape.scale);
  for (std::int64_t row = blockIdx.x; row < a.shape.kv_heads * a.part.rows; row += gridDim.x) {
    const std::int64_t g = row / a.part.rows, r = row % a.part.rows;
    const std::int64_t seen = keys_seen(a.shape, a.part, r);
    const C* scores = a.scores + row * a.part.ld;
    T* probs = a.probs + row * a.part.ld;
    C most = -static_cast<C>(INFINITY);
    for (std::int64_t i = threadIdx.x; i < seen; i += kBlock)
      most = Larger{}(scaled(scores[i], scale), most);
    most = block_reduce(most, Larger{});
    C sum = 0;
    for (std::int64_t i = threadIdx.x; i < seen; i += kBlock)
      sum += math::exp(scaled(scores[i], scale) - most);
    sum = block_reduce(sum, Plus{});
    const C inverse = C(1) / sum;
    for (std::int64_t i = threadIdx.x; i < a.part.cols; i += kBlock) {
      const C p = i < seen ? math::exp(scaled(scores[i], scale) - most) * inverse : C(0);
      probs[i] = static_cast<T>(p);
    }
    if (threadIdx.x == 0) a.lse[statistics_at(a.shape, a.part, g, r)] = most + math::log(sum);
  }
}

// probs = exp(scale scores - lse) and d_scores = probs (d_probs - delta) scale, zero beyond what a
// row sees.
template <class T>
__global__ void __launch_bounds__(kBlock) gradient_kernel(ScoreRows<T> a) {
  using C = Compute<T>;
  const C scale = static_cast<C>(a.shape.scale);
  for (std::int64_t row = blockIdx.x; row < a.shape.kv_heads * a.part.rows; row += gridDim.x) {
    const std::int64_t g = row / a.part.rows, r = row % a.part.rows;
    const std::int64_t seen = keys_seen(a.shape, a.part, r);
    const std::int64_t at = statistics_at(a.shape, a.part, g, r);
    const C lse = a.lse[at], delta = a.delta[at];
    for (std::int64_t c = threadIdx.x; c < a.part.cols; c += kBlock) {
      const std::int64_t i = row * a.part.ld + c;
      const C p = c < seen ? math::exp(scaled(a.scores[i], scale) - lse) : C(0);
      const C d = c < seen ? p * (a.d_probs[i] - delta) * scale : C(0);
      a.probs[i] = static_cast<T>(p);
      a.d_scores[i] = static_cast<T>(d);
    }
  }
}

// delta[b, h, t] = <dy[b, t, h], y[b, t, h]>, a warp each.
template <class T>
__global__ void __launch_bounds__(kBlock)
    delta_kernel(const T* y, const T* dy, Compute<T>* delta, AttentionShape s) {
  const std::int64_t warps = static_cast<std::int64_t>(gridDim.x) * (kBlock / kWarp);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (std::int64_t w = static_cast<std::int64_t>(blockIdx.x) * (kBlock / kWarp) +
                        static_cast<int>(threadIdx.x) / kWarp;
       w < s.batch * s.queries * s.heads; w += warps) {
    Compute<T> sum = 0;
    for (std::int64_t i = lane; i < s.width; i += kWarp)
      sum += widen(y[w * s.width + i]) * widen(dy[w * s.width + i]);
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2)
      sum += __shfl_xor_sync(0xFFFFFFFFu, sum, offset);
    const std::int64_t h = w % s.heads, t = w / s.heads % s.queries, b = w / s.heads / s.queries;
    if (lane == 0) delta[(b * s.heads + h) * s.queries + t] = sum;
  }
}

template <class T>
class Products {
  using C = Compute<T>;

 public:
  Products(Context& cx, const AttentionShape& s)
      : cx_(cx), scratch_(cx.in(Segment::kScratch)), s_(s) {}

  // Calls f(part) for every part of the work.
  template <class F>
  void each_part(const F& f) const {
    const std::int64_t ld = padded(s_.keys);
    const std::int64_t rows =
        std::max<std::int64_t>(1, std::min(s_.queries, kMostScores / (s_.kv_heads * ld)));
    for (std::int64_t b = 0; b < s_.batch; ++b) {
      for (std::int64_t member = 0; member < s_.heads / s_.kv_heads; ++member) {
        for (std::int64_t query = 0; query < s_.queries; query += rows) {
          const std::int64_t n = std::min(rows, s_.queries - query);
          const std::int64_t seen = s_.query_start + query + n;
          const std::int64_t cols = s_.causal ? std::min(s_.keys, seen) : s_.keys;
          f(Part{b, member, query, n, cols, padded(cols)});
        }
      }
    }
  }

  Tensor room(const Part& p, DType type) {
    return Tensor::empty(scratch_, {s_.kv_heads, p.rows, p.ld}, type);
  }

  // Rows of the part's queries in a tensor [B, T, heads * D], and its keys in [B, S, kv_heads * D].
  GemmOperand queries(const Tensor& t, const Part& p, bool transposed = false) const {
    const std::int64_t width = s_.heads * s_.width;
    const std::int64_t first = (p.batch * s_.queries + p.query) * width + p.member * s_.width;
    return {t.data<T>() + first, width, transposed, t.dtype(), s_.heads / s_.kv_heads * s_.width};
  }
  template <class Element = T>
  GemmOperand keys(const Tensor& t, const Part& p, bool transposed = false) const {
    const std::int64_t width = s_.kv_heads * s_.width;
    return {t.data<Element>() + p.batch * s_.keys * width, width, transposed, t.dtype(), s_.width};
  }
  static GemmOperand scores(const Tensor& t, const Part& p, bool transposed = false) {
    return {t.raw(), p.ld, transposed, t.dtype(), p.rows * p.ld};
  }

  struct Size {
    std::int64_t m, n, k;
  };
  // c = a b for every key/value head.
  void multiply(Size size, const GemmOperand& a, const GemmOperand& b, const GemmOperand& c,
                bool accumulate = false) {
    Gemm g;
    g.batch = s_.kv_heads;
    g.m = size.m;
    g.n = size.n;
    g.k = size.k;
    g.a = a;
    g.b = b;
    g.c = const_cast<void*>(c.data);
    g.ldc = c.ld;
    g.c_dtype = c.dtype;
    g.c_batch_stride = c.batch_stride;
    g.accumulate = accumulate;
    gradwire::gemm(cx_, g);
  }

  // Scores of the part's queries: rows of `left` times rows of `right`.
  void dots(const Part& p, const Tensor& left, const Tensor& right, const Tensor& out) {
    multiply({p.rows, p.cols, s_.width}, queries(left, p), keys(right, p, true), scores(out, p));
  }

 private:
  // Rows of scores begin at 16 bytes in every type, as fast products want them.
  static std::int64_t padded(std::int64_t n) { return (n + 7) / 8 * 8; }

  Context& cx_;
  Context scratch_;
  const AttentionShape& s_;
};

template <class T>
void forward(Context& cx, const AttentionShape& s, const AttentionTensors& t) {
  using C = Compute<T>;
  Products<T> products(cx, s);
  products.each_part([&](const Part& p) {
    const Tensor scores = products.room(p, kDTypeOf<C>);
    const Tensor probs = std::is_same_v<T, C> ? scores : products.room(p, kDTypeOf<T>);
    products.dots(p, t.q, t.k, scores);
    launch(cx.stream, blocks_for(s.kv_heads * p.rows, 1), probability_kernel<T>,
           ScoreRows<T>{scores.data<C>(), nullptr, probs.data<T>(), nullptr, t.lse.data<C>(),
                        nullptr, s, p});
    products.multiply({p.rows, s.width, p.cols}, products.scores(probs, p), products.keys(t.v, p),
                      products.queries(t.y, p));
  });
}

template <class T>
void backward(Context& cx, const AttentionShape& s, const AttentionTensors& t, const Tensor& dy,
              const AttentionGradients& g) {
  using C = Compute<T>;
  constexpr bool kNarrow = !std::is_same_v<T, C>;
  Context scratch = cx.in(Segment::kScratch);
  const Tensor delta = Tensor::empty(scratch, t.lse.shape(), kDTypeOf<C>);
  launch(cx.stream, blocks_for(s.batch * s.queries * s.heads, kBlock / kWarp), delta_kernel<T>,
         t.y.data<T>(), dy.data<T>(), delta.data<C>(), s);
  if (flash_takes(s, t) && aligned_for<8>(dy.data<Bf16>())) {
    return flash_backward(cx, s, t, dy, delta, g);
  }
  // Query heads that share a key/value head add up in f32.
  const Tensor dk = kNarrow ? Tensor::empty(scratch, g.dk.shape(), kDTypeOf<C>) : g.dk;
  const Tensor dv = kNarrow ? Tensor::empty(scratch, g.dv.shape(), kDTypeOf<C>) : g.dv;
  fill(cx, dk, 0.0);
  fill(cx, dv, 0.0);
  Products<T> products(cx, s);
  products.each_part([&](const Part& p) {
    const Tensor scores = products.room(p, kDTypeOf<C>), d_probs = products.room(p, kDTypeOf<C>);
    const Tensor probs = kNarrow ? products.room(p, kDTypeOf<T>) : scores;
    const Tensor d_scores = kNarrow ? products.room(p, kDTypeOf<T>) : d_probs;
    products.dots(p, t.q, t.k, scores);
    products.dots(p, dy, t.v, d_probs);
    launch(cx.stream, blocks_for(s.kv_heads * p.rows, 1), gradient_kernel<T>,
           ScoreRows<T>{scores.data<C>(), d_probs.data<C>(), probs.data<T>(), d_scores.data<T>(),
                        t.lse.data<C>(), delta.data<C>(), s, p});
    products.multiply({p.cols, s.width, p.rows}, products.scores(probs, p, true),
                      products.queries(dy, p), products.template keys<C>(dv, p), true);
    products.multiply({p.cols, s.width, p.rows}, products.scores(d_scores, p, true),
                      products.queries(t.q, p), products.template keys<C>(dk, p), true);
    products.multiply({p.rows, s.width, p.cols}, products.scores(d_scores, p),
                      products.keys(t.k, p), products.queries(g.dq, p));
  });
  if (kNarrow) {
    copy(cx, g.dk, dk);
    copy(cx, g.dv, dv);
  }
}

}  // namespace

void attention_forward(Context& cx, const AttentionShape& s, const AttentionTensors& t) {
  if (t.q.numel() == 0) return;
  if (flash_takes(s, t)) return flash_forward(cx, s, t);
  on_float(t.q.dtype(), [&](auto type) { forward<typename decltype(type)::type>(cx, s, t); });
}

void attention_backward(Context& cx, const AttentionShape& s, const AttentionTensors& t,
                        const Tensor& dy, const AttentionGradients& g) {
  on_float(t.q.dtype(),
           [&](auto type) { backward<typename decltype(type)::type>(cx, s, t, dy, g); });
}

}  // namespace gradwire::cuda
