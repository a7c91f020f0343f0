// One element of an AdamW step, shared by CPU and CUDA kernels.
// Loshchilov & Hutter, "Decoupled weight decay regularization" (ICLR 2019), algorithm 2, with the
// decay scaled by the learning rate as PyTorch does.
#pragma once

#include <math.h>

#include "core/hd.h"

namespace gradwire {

// The scalars of one step: they depend on the step, never on the element.
struct AdamWMath {
  float beta1, one_minus_beta1;
  float beta2, one_minus_beta2;
  float keep;          // 1 - lr * weight_decay
  float step_size;     // lr / (1 - beta1^t)
  float inv_sqrt_bc2;  // 1 / sqrt(1 - beta2^t)
  float eps;
  float grad_scale;

  GW_HD void operator()(float& value, float grad, float& m, float& v) const {
    const float g = grad * grad_scale;
    m = beta1 * m + one_minus_beta1 * g;
    v = beta2 * v + one_minus_beta2 * g * g;
    value = keep * value - step_size * m / (sqrtf(v) * inv_sqrt_bc2 + eps);
  }
};

}  // namespace gradwire
