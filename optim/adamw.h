// AdamW: Adam with bias correction and decoupled weight decay (Loshchilov & Hutter, "Decoupled
// weight decay regularization", ICLR 2019), equal to PyTorch's. The exchange is the gradient.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "optim/optimizer.h"

namespace gradwire {

struct AdamWConfig {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;           // multiplied by the learning rate
  std::vector<std::string> no_decay{};  // name patterns (core/glob.h) that are not decayed
  // Names of parameters that a step leaves out if their gradient is empty: neither moments nor
  // value change, and the step does not count for their bias corrections.
  std::vector<std::string> conditional{};
};

// Moments exist from here on, charged to Segment::kOptim; frozen parameters get none. State:
// adamw/step, adamw/<parameter>/m and /v. The bias correction counts updates made, not steps, so
// that a skipped step leaves no gap; of conditional parameters also adamw/<parameter>/left_out, the
// updates of others that they had no part in. Errors: kConfig for numbers out of range; kUsage,
// kShape for parameters that cannot be updated.
std::unique_ptr<Optimizer> make_adamw(Context& cx, std::span<Parameter* const> params,
                                      AdamWConfig config);

}  // namespace gradwire
