// 1-bit LAMB (Li et al., "1-bit LAMB: communication efficient large-scale large-batch training with
// LAMB's convergence speed", HiPC 2022) on LAMB (You et al., ICLR 2020, algorithm 2): Adam's
// direction with a step size per parameter. Dense until the second moment has settled
// (optim/variance_watch.h); then the ranks agree on the momentum, as in 1-bit Adam, and what the
// step sizes would have been is followed from that alone.
#pragma once

#include <memory>
#include <span>

#include "optim/bucket_optimizer.h"
#include "optim/variance_watch.h"

namespace gradwire {

struct OnebitLambConfig {
  AdamWConfig adam{};  // the decay is part of the direction
  FreezeConfig freeze{};
  double min_trust = 0.01;  // bounds of the trust coefficient
  double max_trust = 10.0;
};

// With d(v) = sqrt(v^) + eps, both bias corrections and x the value, by parameter:
//   dense      r = m^ / d(v) + wd x     c = |x| / |r| within bounds (1 if either is 0)
//              x = x - lr c r           c_mean: c's exponential mean at 0.9, bias-corrected
//   compressed p = m^ / d(v), v and its bias correction frozen     r = p + wd x
//              fresh v: takes ((m - beta1 m_before) / (1 - beta1))^2, the mean gradient rebuilt
//              q = max over elements of d(v) / d(fresh v)     s = min(1, |p| / |r|)
//              f = s q + 1 - s within [0.5, 4], then within 10 % of the last f, at first 1
//              x = x - lr c_mean f r
// Momenta are exchanged times a power of two by parameter, fixed at the freeze, that brings their
// root mean squares near 1: a reducer that picks the largest of a bucket picks from all of them.
// Gradients are scaled in place by exchange(). State: onebit_lamb/step, since_freeze, variance/*
// and <parameter>/m, /v, /fresh_v, /trust, /factor, /scale. Errors: as BucketOptimizer and
// VarianceWatch; kConfig for bounds out of order.
std::unique_ptr<Optimizer> make_onebit_lamb(Context& cx, std::span<const FlatBucket> buckets,
                                            OnebitLambConfig config);

}  // namespace gradwire
