// Clipping by global norm (Pascanu, Mikolov & Bengio, "On the difficulty of training recurrent
// neural networks", ICML 2013, algorithm 1). Only the factor: the norm is a reduction
// (core/ops/reduce), and what it must be summed over is known to whoever knows the ranks.
#pragma once

namespace gradwire {

// The factor that brings gradients of this norm down to max_norm, 1 if they are below it already
// or if max_norm is 0, which means no bound. Errors: kNumeric for a norm that is negative or not
// finite (such a step is skipped, not clipped), kUsage for a bound that is negative or not a
// number.
double clip_factor(double norm, double max_norm);

}  // namespace gradwire
