#include "parallel/pipeline/activation_memory.h"

#include <algorithm>

namespace gradwire {

std::int64_t peak_activations(const Program& program, std::span<const StageMemory> stages) {
  std::int64_t held = 0, peak = 0;
  for (const Action& a : program) {
    if (!is_compute(a.act)) continue;
    const StageMemory& stage = stages[static_cast<std::size_t>(a.stage)];
    std::int64_t during = 0, after = 0;  // of this micro-batch, where before it was:
    switch (a.act) {
      case Act::kForward: after = stage.kept; break;
      case Act::kBackward:
        held -= stage.kept;
        during = stage.backward;
        break;
      case Act::kBackwardInput:
        held -= stage.kept;
        during = stage.backward_input;
        after = stage.kept_split;
        break;
      default: held -= stage.kept_split; during = stage.kept_split;
    }
    peak = std::max(peak, held + std::max(during, after));
    held += after;
  }
  return peak;
}

}  // namespace gradwire
