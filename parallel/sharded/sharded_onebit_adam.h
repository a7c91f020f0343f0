// 1-bit Adam (optim/onebit_adam.h) with sharded state. Dense steps are sharded AdamW's, bit for
// bit. Once v is frozen, the owner of a chunk of the two-phase exchange, who alone keeps both of
// its moments, stands between the two phases: no rank needs a whole moment. In update t, with v
// frozen after T updates, rank i sends its gradient with the residual e_i, the owner its update
// with s:
//   c_i = (1 - beta1) grad_scale g_i + e_i     q_i = C(c_i)    e_i = c_i - q_i     worker to owner
//   m   = beta1 m + mean q_i                                                       owner
//   u   = clip(m / (sqrt(v / (1 - beta2^T)) + eps))                                owner
//   r   = C(u + s)                             s = u + s - r                       owner to all
//   value = (1 - lr wd) value - lr r / (1 - beta1^t)                               all
// A worker that holds no momentum cannot send beta1 m + (1 - beta1) g_i; it need not, since that
// part is the same on all of them. What is compressed is linear in the gradient all the same, e_i
// is owed to m in either form, and what the owner's codec loses of u is owed to the values. On the
// way back, a block of one scale holds values of one size: they have been divided by the root of v.
// Where v had all but vanished when it was frozen, the noise of a bit would make u huge and drown
// its block: |u| is clipped at the largest m / sqrt(v) of AdamW, (1 - beta1) / sqrt((1 - beta2)
// (1 - beta1^2 / beta2)).
#pragma once

#include <memory>

#include "optim/onebit_adam.h"
#include "parallel/sharded/shard.h"

namespace gradwire {

// Takes a reducer with CompressionConfig::owners_answer. Coordinates with v = 0 take no part; which
// these are (a bit each) is gathered when a frozen stage begins or is resumed. State: that of
// make_onebit_adam(), the moments as slices. `shard` must outlive it.
std::unique_ptr<Optimizer> make_sharded_onebit_adam(Context& cx, Shard& shard,
                                                    OnebitAdamConfig config);

}  // namespace gradwire
