// Attention in bf16 whose products are made with AVX512_BF16 (core/ops/linear/bf16_dot.h): q, k, v
// and gradients as they are, probabilities and gradients of scores rounded to bf16. Softmax and all
// sums are in f32.
#pragma once

#include "core/ops/attention/attention_kernels.h"

namespace gradwire::cpu {

// If the context's products go this way, and a head's width is even.
bool dots_attention(const Context& cx, const AttentionShape& s, DType dtype);

void dot_attention_forward(Context& cx, const AttentionShape& s, const AttentionTensors& t);
void dot_attention_backward(Context& cx, const AttentionShape& s, const AttentionTensors& t,
                            const Tensor& dy, const AttentionGradients& g);

}  // namespace gradwire::cpu
