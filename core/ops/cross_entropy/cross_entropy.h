// Softmax cross-entropy fused with its gradient: no probability matrix is kept; backward turns the
// logits into their gradient in place where nobody else holds them.
#pragma once

#include "core/tape.h"

namespace gradwire {

struct CrossEntropyOptions {
  std::int32_t ignore_index = -100;  // rows with this target count for nothing
  double label_smoothing = 0.0;      // e: target (1-e) one-hot + e/V uniform (Szegedy et al., 2016)
};

// logits [.., V], targets i32 [..] -> the mean over the rows that count, a scalar f32 (f64 for f64
// logits). No such row: the loss is 0. Errors: kData for a target outside [0, V).
Var cross_entropy(Context& cx, Tape& tape, Var logits, const Tensor& targets,
                  const CrossEntropyOptions& options = {});

}  // namespace gradwire
