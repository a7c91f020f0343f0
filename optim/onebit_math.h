// One element of an Adam step with a second moment that stands still, shared by CPU and CUDA
// kernels. Tang et al., "1-bit Adam" (ICML 2021), compressed stage, with AdamW's decay.
#pragma once

#include <math.h>

#include "core/hd.h"

namespace gradwire {

struct FrozenMath {
  float keep;          // 1 - lr * weight_decay
  float step_size;     // lr / (1 - beta1^t)
  float inv_sqrt_bc2;  // 1 / sqrt(1 - beta2^T), T the updates that v has seen
  float eps;

  GW_HD void operator()(float& value, float m, float v) const {
    value = keep * value - step_size * m / (sqrtf(v) * inv_sqrt_bc2 + eps);
  }
};

}  // namespace gradwire
