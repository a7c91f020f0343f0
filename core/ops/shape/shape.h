// Operations that move elements and compute nothing.
#pragma once

#include "core/tape.h"

namespace gradwire {

// Dimensions count from the end if negative. Errors: kShape.
Var reshape(Context& cx, Tape& tape, Var x, const Shape& shape);  // a view
Var transpose(Context& cx, Tape& tape, Var x, int a, int b);      // two dimensions swapped; a copy
Var concat(Context& cx, Tape& tape, std::span<const Var> xs, int dim);
Var slice(Context& cx, Tape& tape, Var x, int dim, std::int64_t begin, std::int64_t end);
Var cast(Context& cx, Tape& tape, Var x, DType to);  // between float types

}  // namespace gradwire
