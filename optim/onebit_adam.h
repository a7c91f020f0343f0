// 1-bit Adam (Tang et al., "1-bit Adam: communication efficient large-scale training with Adam's
// convergence speed", ICML 2021). Dense steps are AdamW's, bit for bit. Once the second moment has
// settled (optim/variance_watch.h) it is frozen, and the ranks agree on the momentum instead of the
// gradient: with v fixed the update is linear in it, so that a compressing reducer can make up for
// its errors. How few bits that takes is the reducer's business.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "optim/bucket_optimizer.h"
#include "optim/variance_watch.h"

namespace gradwire {

struct OnebitAdamConfig {
  AdamWConfig adam{};
  FreezeConfig freeze{};
  std::vector<std::string> dense{};  // parameters that opt out: see dense_buckets()
};

// Frozen after T updates of v, update t (counted over all updates; a skipped step is none) is
//   m     = mean over ranks of beta1 m + (1 - beta1) grad_scale g            (the exchange)
//   value = (1 - lr wd) value - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^T)) + eps)
// with v's bias correction frozen as well, and v not below 1/256 of the mean over those of its
// parameter that are not 0 (kLeastPartOfSquare). Coordinates with v = 0 take no part. The parameter
// of one that gets a gradient all the same leaves the exchange after that step: the mean of its
// gradients comes beside it (Exchange::beside), for AdamW's step with v going on from where it
// stood, until v has settled (optim/settling_norm.h, of that parameter's gradients since). Then v
// is brought to the bias correction of the others, and the parameter takes part again. Buckets that
// opted out stay with AdamW's step: such a step needs the mean of their gradients as well as the
// exchange, in which they have no value. State: onebit_adam/step, onebit_adam/<parameter>/m, /v and
// /awake, onebit_adam/variance/*. Errors: as BucketOptimizer and VarianceWatch.
std::unique_ptr<Optimizer> make_onebit_adam(Context& cx, std::span<const FlatBucket> buckets,
                                            OnebitAdamConfig config);

}  // namespace gradwire
