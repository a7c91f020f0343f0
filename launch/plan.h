// What a recipe will cost, worked out before anything is allocated: parameters, memory of a rank,
// the batch, the bytes of a step. Printed by `train --dry-run` and at the start of a run.
#pragma once

#include <cstdint>
#include <string>

#include "launch/recipe.h"
#include "models/decoder_lm.h"

namespace gradwire {

// Bytes of one rank. An estimate: activations are those of one micro-batch at the end of its
// forward pass, which is where they peak.
struct MemoryPlan {
  std::int64_t params = 0;
  std::int64_t grads = 0;
  std::int64_t optim = 0;
  std::int64_t activations = 0;
  std::int64_t total() const { return params + grads + optim + activations; }
};

struct Plan {
  std::int64_t parameters = 0;
  std::int64_t tokens_per_step = 0;
  std::int64_t accumulation = 1;
  std::int64_t wire_bytes_per_step = 0;  // sent by a rank, dense f32: 2 (n-1)/n of the gradients
  MemoryPlan memory;
};

// All parameters count as trainable.
Plan make_plan(const Recipe& recipe, std::int64_t vocabulary, int ranks);
std::string to_text(const Plan& plan, const Recipe& recipe, int ranks);

}  // namespace gradwire
