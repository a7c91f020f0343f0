// Rotary position embedding (Su et al., "RoFormer", 2021), half-split convention: element j of a
// head pairs with element j + Dh/2, as in Hugging Face LLaMA.
#pragma once

#include "core/tape.h"

namespace gradwire {

struct RopeOptions {
  std::int64_t heads = 1;
  double theta = 10000.0;
  std::int64_t start = 0;  // position of x[:, 0]
  // As in AttentionOptions: positions count from the beginning of each sample in a row.
  Tensor sample_starts{};
};

// x [B, T, heads*Dh], Dh even; each head of position p is turned by p * theta^(-2j/Dh).
Var rope(Context& cx, Tape& tape, Var x, const RopeOptions& options);

}  // namespace gradwire
