// Normalisation over the last dimension; statistics in f32 (f64 for f64), saved for backward.
// Weights are f32 if x is f32 or bf16, and f64 if x is f64.
#pragma once

#include "core/tape.h"

namespace gradwire {

// y = x / sqrt(mean(x^2) + eps) * w; x [.., D], w [D] (Zhang and Sennrich, 2019). Errors: kShape.
Var rmsnorm(Context& cx, Tape& tape, Var x, Var w, double eps);
// y = (x - mean) / sqrt(var + eps) * w + b; w, b [D] (Ba et al., 2016). Errors: kShape.
Var layernorm(Context& cx, Tape& tape, Var x, Var w, Var b, double eps);

}  // namespace gradwire
