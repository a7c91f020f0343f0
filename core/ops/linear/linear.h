// Matrix products. f32 and f64 compute in their own type; bf16 multiplies bf16 and sums in f32.
#pragma once

#include "core/tape.h"

namespace gradwire {

// y = x w^T + b; x [.., K], w [N, K], b [N] or none; y [.., N] of x's type. A weight parameter is
// f32: for bf16 x a bf16 copy of it is made once per version and kept, packed, on the parameter.
// Frozen weights compute no gradient. The result does not depend on the number of threads.
Var linear(Context& cx, Tape& tape, Var x, Var w, Var b = {});

struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
};
// [.., M, K] x [.., K, N] -> [.., M, N], leading dimensions equal, or b of rank 2 for all of them.
Var matmul(Context& cx, Tape& tape, Var a, Var b, MatmulOptions options = {});

}  // namespace gradwire
