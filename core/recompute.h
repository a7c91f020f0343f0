// Activation checkpointing: trades memory for time (Chen et al., "Training deep nets with sublinear
// memory cost", 2016). Of a part of a model only the input is kept; backward runs the part again,
// with the same random numbers, and differentiates that.
#pragma once

#include <functional>
#include <span>

#include "core/tape.h"

namespace gradwire {

// `part` is called with a tape that is thrown away, and again in backward; it must give the same
// both times and what it refers to must outlive `tape`. `params` are what it uses: each must be
// used nowhere else on `tape`. Without recording it is just part(cx, tape, x).
using RecomputedPart = std::function<Var(Context& cx, Tape& tape, Var x)>;
Var recompute(Context& cx, Tape& tape, Var x, std::span<Parameter* const> params,
              RecomputedPart part);

}  // namespace gradwire
