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

// The momentum takes in what it was given and becomes the update that Adam would make of it, which
// takes the place of what was given; at most `bound`, and nothing where v is 0.
struct PreconditionMath {
  float beta;
  float inv_sqrt_bc2;  // 1 / sqrt(1 - beta2^T)
  float eps;
  float bound;

  GW_HD void operator()(float& m, float v, float& x) const {
    const float fresh = beta * m + x;
    const float full = fresh / (sqrtf(v) * inv_sqrt_bc2 + eps);
    const float update = fminf(fmaxf(full, -bound), bound);
    m = v != 0.0F ? fresh : 0.0F;
    x = v != 0.0F ? update : 0.0F;
  }
};

}  // namespace gradwire
