#include "optim/optimizer.h"

#include "core/error.h"

namespace gradwire {

StepNeeds Optimizer::needs(bool) const {
  return {};
}

std::span<const std::optional<Exchange>> Optimizer::exchange(Context&, const StepInfo&) {
  throw Error(ErrorKind::kUsage,
              "optimizer: a rule that agrees on gradients has nothing else to exchange");
}

}  // namespace gradwire
