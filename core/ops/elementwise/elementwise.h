// Elementwise operations. The mathematics of each is a functor in elementwise_math.h, written once
// and instantiated by the CPU loops, the CUDA kernels and the gradient checks.
#pragma once

#include "core/ops/elementwise/unary.h"
#include "core/tape.h"

namespace gradwire {

Var unary(Context& cx, Tape& tape, Unary which, Var x);  // any shape, any float type

// Sum and product with broadcasting as NumPy does it (dimensions of size 1 and missing leading ones
// stretch). Same float type on both sides.
Var add(Context& cx, Tape& tape, Var a, Var b);
Var mul(Context& cx, Tape& tape, Var a, Var b);
Var scaled(Context& cx, Tape& tape, Var x, double factor);  // factor * x

// act(gate) * up, elementwise: the inner part of a gated feed-forward layer (Shazeer, "GLU variants
// improve transformer", 2020), in one pass. Same shape and type.
Var gated(Context& cx, Tape& tape, Unary act, Var gate, Var up);

}  // namespace gradwire
