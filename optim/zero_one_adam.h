// 0/1 Adam (Lu et al., "Maximizing communication efficiency for large-scale training via 0/1 Adam",
// ICLR 2023): no dense warm-up, but a second moment refreshed more and more rarely; and, later on,
// local steps, after several of which the ranks agree at once.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "optim/bucket_optimizer.h"

namespace gradwire {

struct ZeroOneAdamConfig {
  AdamWConfig adam{};
  // All counted in updates. The second moment takes its last refresh at or before this one.
  std::int64_t var_freeze_step = 1000;
  std::int64_t var_update_scaler = 16;   // kappa: refresh j comes 2^floor(j / kappa) updates later
  std::int64_t local_step_start = 1000;  // not before var_freeze_step
  std::int64_t local_step_scaler = 32768;  // updates after which the interval doubles
  std::int64_t local_step_clipper = 16;    // H: its bound; 1 for no local steps
  // Names of parameters that take no local steps: of whose gradient a rank has only a part, so that
  // it cannot step by itself (TiedParameter).
  std::vector<std::string> never_local{};
};

// Update t is one of
//   refresh (the first one is): the mean gradient, AdamW's step on both moments; v's bias
//     correction counts refreshes;
//   one bit: the exchange and the update of 1-bit Adam (optim/onebit_adam.h) with v as it is;
//   local (from local_step_start on): with w = lr / (1 - beta1^t), k = 1 - lr wd and
//     d = sqrt(v^) + eps, anchor the value at the last agreement, where K = 1, W = 0 and u = 0,
//       m = beta1 m + (1 - beta1) grad_scale g     u = k u + w m     W = k W + w     K = k K
//       value = K anchor - u / d
//     which is AdamW's step by this rank's own momentum, summed up;
//   agreement (every min(H, 2^floor((t - local_step_start) / scaler)) updates and where the run
//     must settle): m, u, W, K as above, then with the mean over the ranks of u / W
//       m = mean     value = K anchor - W mean / d
//     All replicas are equal then, bit for bit, as everything comes from the anchor and the mean.
//     The quantity exchanged is a momentum before and after local steps begin, whatever lr does, so
//     that what a reducer carries over keeps its meaning.
// Parameters that are never local take the step of one bit in place of the last two kinds. They
// share no bucket with others. Coordinates with v = 0 take no part. Between agreements, momentum
// and values are this rank's own: there is no state to save (kUsage; see Optimizer::settled()).
// State: zero_one_adam/step, refreshes, since_refresh and <parameter>/m, /v. Errors: as
// BucketOptimizer; kConfig for a schedule that cannot be followed; kUsage for a bucket that holds
// parameters of both kinds.
std::unique_ptr<Optimizer> make_zero_one_adam(Context& cx, std::span<const FlatBucket> buckets,
                                              ZeroOneAdamConfig config);

}  // namespace gradwire
