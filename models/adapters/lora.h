// LoRA (Hu et al., "LoRA: low-rank adaptation of large language models", ICLR 2022) at a linear
// site with the frozen weight W [out, in]:
//   y = W x + s B A drop(x)      A [r, in], B [out, r], s = alpha / r
// rsLoRA takes s = alpha / sqrt(r) (Kalajdzievski, "A rank stabilization scaling factor for
// fine-tuning with LoRA", 2023). B starts at 0, so that nothing changes before the first update;
// A's gradient is 0 then too.
//
// DoRA (Liu et al., "DoRA: weight-decomposed low-rank adaptation", ICML 2024) also learns the
// length m [out] of each row of the weight:
//   y = m / |W + s B A|_row * (W x + s B A drop(x))
// m starts at |W|_row. The norm counts as a constant in backward (section 4.3 of the paper).
#pragma once

#include <memory>

#include "models/adapters/adapter.h"
#include "models/adapters/adapter_config.h"

namespace gradwire {

// s B A x; x [.., in], a [r, in], b [out, r].
Var low_rank(Context& cx, Tape& tape, Var x, Var a, Var b, double scale);

// |w + s b a| of every row: [out], f32, or f64 if w is. Never forms b a: |w_i|^2 + 2 s b_i (a w_i)
// + s^2 b_i (a a^T) b_i^T. `squares`: |w_i|^2, from row_squares(). Of b = 0 it is the root of
// these, to the bit.
Tensor row_squares(Context& cx, const Tensor& w);
Tensor row_norms(Context& cx, const Tensor& w, const Tensor& squares, const Tensor& a,
                 const Tensor& b, double scale);

std::unique_ptr<Adapter> make_lora(Context& cx, const Site& site, const std::string& name,
                                   const AdapterConfig& config);
// The weight must have its values by now.
std::unique_ptr<Adapter> make_dora(Context& cx, const Site& site, const std::string& name,
                                   const AdapterConfig& config);

}  // namespace gradwire
