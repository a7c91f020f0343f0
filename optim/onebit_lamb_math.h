// One element of LAMB's direction, shared by CPU and CUDA kernels; the equations are in
// optim/onebit_lamb.h.
#pragma once

#include <math.h>

#include "core/hd.h"

namespace gradwire {

struct LambMath {
  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;
  float grad_scale;
  float momentum_gain;       // 1 / (1 - beta1^t), and over the scale that m is kept at
  float rebuild_gain;        // 1 / (1 - beta1), and over that scale
  float inv_sqrt_bc2;        // of v
  float inv_sqrt_bc2_fresh;  // of the fresh v
  float eps;
  float decay;
  float floor = 0.0F;  // of v in frozen steps, as in FrozenMath

  GW_HD float dense(float value, float grad, float& m, float& v) const {
    const float g = grad * grad_scale;
    m = beta1 * m + one_minus_beta1 * g;
    v = beta2 * v + one_minus_beta2 * g * g;
    return momentum_gain * m / (sqrtf(v) * inv_sqrt_bc2 + eps) + decay * value;
  }
  // p of an element; `ratio` becomes d(v) / d(fresh v).
  GW_HD float frozen(float m_before, float m, float v, float& fresh, float& ratio) const {
    const float g = rebuild_gain * (m - beta1 * m_before);
    fresh = beta2 * fresh + one_minus_beta2 * g * g;
    const float d = sqrtf(v > floor ? v : floor) * inv_sqrt_bc2 + eps;
    ratio = d / (sqrtf(fresh) * inv_sqrt_bc2_fresh + eps);
    return momentum_gain * m / d;
  }
};

}  // namespace gradwire
