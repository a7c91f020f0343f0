// Inverted dropout (Srivastava et al., 2014). The mask is a function of cx.rng alone and is never
// stored: backward draws the same numbers again.
#pragma once

#include "core/tape.h"

namespace gradwire {

// Each element is zero with probability p, else x / (1 - p). A tape that does not record, or p = 0,
// passes x through.
Var dropout(Context& cx, Tape& tape, Var x, double p);

}  // namespace gradwire
