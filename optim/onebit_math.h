// One element of an Adam step with a second moment that stands still, shared by CPU and CUDA
// kernels. Tang et al., "1-bit Adam" (ICML 2021), compressed stage, with AdamW's decay.
#pragma once

#include <cstdint>

#include <math.h>
#include <string.h>

#include "core/hd.h"

namespace gradwire {

// The least second moment that a frozen step divides by, as a part of the mean over those of the
// parameter that are not zero. A coordinate that had gradients once and then none for hundreds of
// updates has next to nothing left of its v, but still gets a bit in every message, of the size of
// its neighbours' momenta: divided by its own root that were steps of hundreds of learning rates.
// With this floor a bit of the size of the others' roots moves a coordinate by 16 learning rates,
// forth and back.
constexpr float kLeastPartOfSquare = 1.0F / 256.0F;

struct FrozenMath {
  float keep;          // 1 - lr * weight_decay
  float step_size;     // lr / (1 - beta1^t)
  float inv_sqrt_bc2;  // 1 / sqrt(1 - beta2^T), T the updates that v has seen
  float eps;
  float floor = 0.0F;  // of v

  GW_HD void operator()(float& value, float m, float v) const {
    value = keep * value - step_size * m / (sqrtf(v > floor ? v : floor) * inv_sqrt_bc2 + eps);
  }
};

// A second moment in a byte, for ranks that do not own it: the exponent and two bits of the
// mantissa of its float, counted down from the largest. 255 is that of `top`; what is 64 octaves
// below or more is 1, and 0 is 0. The root of what is read back is off by 6 % at most.
struct CoarseSquare {
  std::int32_t top;  // largest level

  GW_HD static std::int32_t level(float v) {
    std::uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return static_cast<std::int32_t>(bits >> kDropped);
  }
  GW_HD std::uint8_t code(float v) const {
    const std::int32_t below = top - level(v);
    const std::int32_t code = below < 254 ? 255 - below : 1;
    return static_cast<std::uint8_t>(v != 0.0F ? code : 0);
  }
  // The middle of the step; some positive number for 0.
  GW_HD float operator()(std::uint8_t code) const {
    const std::int32_t level = top - 255 + code;
    const std::uint32_t kept = level > 0 ? static_cast<std::uint32_t>(level) : 0U;
    const std::uint32_t bits = (kept << kDropped) | (1U << (kDropped - 1));
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
  }

 private:
  static constexpr int kDropped = 21;  // bits of the mantissa
};

}  // namespace gradwire
