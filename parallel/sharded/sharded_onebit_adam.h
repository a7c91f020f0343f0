// 1-bit Adam (optim/onebit_adam.h) with sharded state. Dense steps are sharded AdamW's, bit for
// bit. Once v is frozen, what comes of an exchange is the new momentum, and all ranks have it in
// the few bytes in which it travelled; so none keeps it as floats, and for the next message it is
// decoded again (RecalledMomentum, core/exchange.h). Of v every rank has one byte an element, made
// once when v is frozen (CoarseSquare, optim/onebit_math.h). In update t, with residuals e_i and s,
//   c_i = beta1 m + (1 - beta1) grad_scale g_i + e_i   q_i = C(c_i)   e_i = c_i - q_i   worker
//   m   = C(mean q_i + s)                              s = mean q_i + s - m             owner
//   value = (1 - lr wd) value - lr m / (1 - beta1^t) / (sqrt(v' / (1 - beta2^T)) + eps) all
// which is 1-bit Adam with v' for v. The owner of a chunk keeps the floats of both moments there:
// they are what a checkpoint has, and where dense steps go on when v thaws.
// It would take less yet if owners sent m / (sqrt(v) + eps) and workers (1 - beta1) g_i alone, for
// then nobody needs anything of the others' moments. With one bit that was measured to lose a
// quarter of a nat (docs/parallel.md): a bit of a gradient tells less than a bit of a momentum, and
// errors of one size in all updates hurt where the curvature is large.
#pragma once

#include <memory>

#include "optim/onebit_adam.h"
#include "parallel/sharded/shard.h"

namespace gradwire {

// Takes a reducer that supports recalled momenta. Coordinates with v = 0 take no part. State: that
// of make_onebit_adam(), the moments as slices, so that either goes on from the other's. `shard`
// must outlive it.
std::unique_ptr<Optimizer> make_sharded_onebit_adam(Context& cx, Shard& shard,
                                                    OnebitAdamConfig config);

}  // namespace gradwire
