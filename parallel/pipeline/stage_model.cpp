#include "parallel/pipeline/stage_model.h"

#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

int computed_micros(const StageModel& model, int micros) {
  int computed = 0;
  for (int micro = 0; micro < micros; ++micro) {
    const double weight = model.weight(micro);
    if (!std::isfinite(weight) || weight < 0.0) {
      throw Error(ErrorKind::kUsage, fmt::format("micro-batch {}: a weight of {}", micro, weight));
    }
    if (weight > 0.0) ++computed;
  }
  return computed;
}

void LossSum::add(const StageModel& model, std::span<const double> losses) {
  for (std::size_t micro = 0; micro < losses.size(); ++micro) {
    const double here = model.weight(static_cast<int>(micro));
    loss += losses[micro] * here;
    weight += here;
  }
}

}  // namespace gradwire
