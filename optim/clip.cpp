#include "optim/clip.h"

#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

double clip_factor(double norm, double max_norm) {
  if (!std::isfinite(norm) || norm < 0.0) {
    throw Error(ErrorKind::kNumeric, fmt::format("clip: gradient norm is {}", norm));
  }
  if (!(max_norm >= 0.0)) {
    throw Error(ErrorKind::kUsage, fmt::format("clip: a bound must be >= 0, got {}", max_norm));
  }
  return max_norm > 0.0 && norm > max_norm ? max_norm / norm : 1.0;
}

}  // namespace gradwire
