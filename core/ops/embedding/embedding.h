// Rows of a table by index.
#pragma once

#include "core/tape.h"

namespace gradwire {

// table [V, D], ids i32 [..] -> [.., D] of type `out` (the table is an f32 parameter). The gradient
// adds up rows in a fixed order. Errors: kData for an id outside [0, V).
Var embedding(Context& cx, Tape& tape, Var table, const Tensor& ids, DType out = DType::kF32);

}  // namespace gradwire
