// Stochastic gradient descent, with momentum (plain or Nesterov's) if asked, equal to PyTorch's
// with dampening 0. The exchange is the gradient.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "optim/optimizer.h"

namespace gradwire {

struct SgdConfig {
  double momentum = 0.0;  // 0: none, and no state
  bool nesterov = false;
  double weight_decay = 0.0;            // added to the gradient
  std::vector<std::string> no_decay{};  // name patterns (core/glob.h) that are not decayed
  // Names of parameters that a step leaves out if their gradient is empty.
  std::vector<std::string> conditional{};
};

// State: sgd/<parameter>/momentum, charged to Segment::kOptim. Errors: kConfig for numbers out of
// range; kUsage, kShape for parameters that cannot be updated.
std::unique_ptr<Optimizer> make_sgd(Context& cx, std::span<Parameter* const> params,
                                    SgdConfig config);

}  // namespace gradwire
