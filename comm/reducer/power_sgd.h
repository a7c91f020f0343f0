// PowerSGD: matrices travel as the product of two thin ones (Vogels, Karimireddy & Jaggi,
// "PowerSGD", NeurIPS 2019, algorithms 1 and 2). Everything sent is linear in what ranks bring, so
// that one all-reduce averages it and no owner compresses again. For a matrix [m, n] of this rank,
// contribution plus residual M, and Q [n, r] from the step before:
//   P = mean of M Q,   orthonormal columns,   Q_own = M^T P,   Q = mean of Q_own
//   answer = P Q^T,   residual = M - P Q_own^T
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "comm/reducer/reducer.h"
#include "core/flat_bucket.h"

namespace gradwire {

struct PowerSgdConfig {
  std::int64_t rank = 4;   // r
  std::uint64_t seed = 1;  // of the first Q; the same on all ranks
};

// A parameter of two dimensions or more is a matrix [first dimension, all others]. It travels as it
// is if that takes no more, r (m + n) >= m n, and so do parameters of one dimension, beside the
// P: two all-reduces a bucket. Rows, columns and matrices that are zero on all ranks give zeros.
//
// A residual leaves out what the other ranks brought, unlike that of the authors' program, M - P
// Q^T: the means over the ranks, on which alone every answer depends, are the same, but ranks with
// different data do not add up their differences. With an exchange's `live`, answers and residuals
// are zero elsewhere.
//
// State: powersgd/e/<parameter> (of each rank, Share::kMean), powersgd/q/<parameter> (f32 [r, n],
// replicated), of those that travel as matrices. `comm` and the parameters must outlive it.
// Errors: kConfig for a rank below 1, kDevice; of finish(), kNumeric if M Q was not finite.
std::unique_ptr<Reducer> make_power_sgd_reducer(Context& cx, Communicator& comm,
                                                std::span<const FlatBucket> layout,
                                                const PowerSgdConfig& config);

}  // namespace gradwire
