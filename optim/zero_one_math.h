// One element of 0/1 Adam's local steps and agreements, shared by CPU and CUDA kernels; the
// equations are in optim/zero_one_adam.h.
#pragma once

#include <math.h>

#include "core/hd.h"

namespace gradwire {

struct ZeroOneMath {
  float beta1, one_minus_beta1, grad_scale;
  float keep_u;        // 1 - lr * weight_decay; 0 in the first update after an agreement
  float weight;        // lr / (1 - beta1^t)
  float inv_sum;       // 1 / W before an agreement, else 1
  float keep;          // K
  float gain;          // of u: W if u is the agreed momentum, else 1
  float inv_sqrt_bc2;  // as FrozenMath
  float eps;
  float floor = 0.0F;  // of v, as in FrozenMath

  // Nothing can be agreed on if v is 0: such a coordinate stands still, but what came for it stays
  // in u, if the exchange sees that it wakes up (Exchange::woken).
  GW_HD void collect(float grad, float& m, float& u, float v) const {
    const float moved = beta1 * m + one_minus_beta1 * (grad * grad_scale);
    const float sum = (keep_u * u + weight * moved) * inv_sum;
    m = v != 0.0F ? moved : m;
    u = sum;
  }
  // u has become what the ranks have agreed on, unless v is 0.
  GW_HD float agreed(float u, float v) const { return v != 0.0F ? u : 0.0F; }
  GW_HD float place(float anchor, float u, float v) const {
    return keep * anchor -
           gain * agreed(u, v) / (sqrtf(v > floor ? v : floor) * inv_sqrt_bc2 + eps);
  }
};

}  // namespace gradwire
