// The memory of activations that a program needs, from what its stages keep. Values only: who
// measured or estimated them is the caller's business.
#pragma once

#include <cstdint>
#include <span>

#include "parallel/pipeline/schedule.h"

namespace gradwire {

// Of one micro-batch in a stage, in bytes, all told.
struct StageMemory {
  std::int64_t kept = 0;            // from the forward to the backward
  std::int64_t backward = 0;        // at most, while a full backward runs,
  std::int64_t backward_input = 0;  // or one for the gradient of the input
  std::int64_t kept_split = 0;      // from there to the gradients of the weights
};

// The most that one rank holds at once; `stages` are those of the whole schedule.
std::int64_t peak_activations(const Program& program, std::span<const StageMemory> stages);

}  // namespace gradwire
