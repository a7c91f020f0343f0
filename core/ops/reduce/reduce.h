// Sums in a fixed order that does not depend on the number of threads.
#pragma once

#include "core/ops/axis.h"
#include "core/tape.h"

namespace gradwire {

Var sum(Context& cx, Tape& tape, Var x);  // a scalar of x's type (f32 for bf16)
Var mean(Context& cx, Tape& tape, Var x);
Var sum_dim(Context& cx, Tape& tape, Var x, int dim);  // the dimension is dropped; x's type

// Without a tape. Sum of squares in f64 over any float tensors: gradient norms.
double sum_of_squares(Context& cx, std::span<const Tensor> tensors);
// True if every element is finite.
bool all_finite(Context& cx, const Tensor& t);
// x [outer, length, inner] summed over its length: [outer, inner], f32 for bf16.
Tensor sum_axis(Context& cx, const Tensor& x, const Axis& axis);
// The same into `out`: overwritten for beta 0, added to for beta 1.
void sum_axis(Context& cx, const Tensor& out, const Tensor& x, const Axis& axis, float beta);

}  // namespace gradwire
