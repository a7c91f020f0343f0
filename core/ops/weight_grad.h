// Where an op writes the gradient of a weight: straight into the parameter's own buffer, or, for a
// weight that is some other variable, into a new tensor that the tape takes over.
#pragma once

#include "core/tape.h"

namespace gradwire {

// Calls write(grad, beta) if w wants a gradient: beta 0 overwrites, 1 adds. `like` has the
// weight's shape and type.
template <class Write>
void accumulate_weight_grad(Context& cx, Tape& tape, Var w, const Tensor& like,
                            const Write& write) {
  if (!tape.needs_grad(w)) return;
  if (tape.parameter(w) != nullptr) return tape.accumulate_in_place(cx, w, write);
  Tensor grad = Tensor::empty(cx, like.shape(), like.dtype());
  write(grad, 0.0F);
  tape.accumulate(cx, w, std::move(grad));
}

}  // namespace gradwire
