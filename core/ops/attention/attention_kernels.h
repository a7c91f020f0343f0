// Loops of attention on blocks of scores, and its device sides.
#pragma once

#include <cstdint>

#include "core/bf16.h"
#include "core/ops/attention/attention.h"
#include "core/simd.h"

namespace gradwire {

// A dense block [rows, cols] of products of queries and keys. Row r sees the first `seen` + r of
// its columns, none if that is negative and at most all, but for those before starts[r] - key, if
// there are starts; what it does not see becomes zero. A score of minus infinity is not seen
// either.
template <class C>
struct ScoreBlock {
  C* scores;
  std::int64_t rows, cols;
  C scale;
  std::int64_t seen;
  const std::int32_t* starts = nullptr;  // by row: the first key that it sees
  std::int64_t key = 0;                  // of the first column
};

template <class C>
struct AttentionLoops {
  // One step of the online softmax: scores become exp(scale * score - maximum); the running maximum
  // and sum of each row take the block in, and out [rows, width], if there is one, is scaled to
  // the new maximum. A row that has seen nothing keeps a maximum of minus infinity and a sum of 0.
  void (*softmax_step)(const ScoreBlock<C>& block, C* row_max, C* row_sum, C* out,
                       std::int64_t width);
  // Backward: scores become probabilities exp(scale * score - lse[row]), and d_probs the gradient
  // of the scores, p * (d_prob - delta[row]) * scale.
  void (*gradient_step)(const ScoreBlock<C>& block, C* d_probs, const C* lse, const C* delta);
};

struct AttentionKernels {
  AttentionLoops<float> f32;
  AttentionLoops<double> f64;
  // y[r] = out[r] / row_sum[r], into rows `ld` apart; 0 if the row has seen nothing.
  void (*normalise_f32)(const float* out, const float* row_sum, float* y, std::int64_t ld,
                        std::int64_t rows, std::int64_t width);
  void (*normalise_f64)(const double* out, const double* row_sum, double* y, std::int64_t ld,
                        std::int64_t rows, std::int64_t width);
  void (*normalise_bf16)(const float* out, const float* row_sum, Bf16* y, std::int64_t ld,
                         std::int64_t rows, std::int64_t width);
  // dots[r] = a[r] . b[r]; rows of both are `ld` apart.
  void (*row_dots_f32)(const float* a, const float* b, std::int64_t ld, float* dots,
                       std::int64_t rows, std::int64_t width);
  void (*row_dots_f64)(const double* a, const double* b, std::int64_t ld, double* dots,
                       std::int64_t rows, std::int64_t width);
  void (*row_dots_bf16)(const Bf16* a, const Bf16* b, std::int64_t ld, float* dots,
                        std::int64_t rows, std::int64_t width);
};
GW_DECLARE_KERNELS(AttentionKernels, attention_kernels);

// Sizes of one call; D is the width of a head.
struct AttentionShape {
  std::int64_t batch, queries, keys, heads, kv_heads, width;
  bool causal;
  double scale;
  std::int64_t query_start;
  const std::int32_t* starts = nullptr;  // [batch, queries]: the first key that a query sees
};

struct AttentionTensors {
  Tensor q, k, v, y;
  Tensor lse;  // [B, heads, T], f32 (f64 for f64): log of the sum of exp(scale * score)
};
struct AttentionGradients {
  Tensor dq, dk, dv;
};

namespace cpu {
void attention_forward(Context& cx, const AttentionShape& s, const AttentionTensors& t);
void attention_backward(Context& cx, const AttentionShape& s, const AttentionTensors& t,
                        const Tensor& dy, const AttentionGradients& g);
}  // namespace cpu

// By matrix products: the scores of a part of the heads and queries exist at a time, within a fixed
// number of elements.
namespace cuda {
void attention_forward(Context& cx, const AttentionShape& s, const AttentionTensors& t);
void attention_backward(Context& cx, const AttentionShape& s, const AttentionTensors& t,
                        const Tensor& dy, const AttentionGradients& g);
}  // namespace cuda

}  // namespace gradwire
