// VL-PET (Hu et al., "VL-PET: vision-and-language parameter-efficient tuning via granularity
// control", ICCV 2023): a bottleneck after a sublayer whose sum with the sublayer's result is
// multiplied by a gate G. With x, the residual stream, and y, what the sublayer gives:
//   h = y + U gelu(D y)            y <- s (G * h)
//   large      G = sigmoid(V gelu(E x))        a bottleneck of the same width, [B, T, d]
//   middle_x   G = sigmoid(w (x + h) + b)      [B, T, 1]
//   middle_y   G = 1 + g                       [d]
//   small      G = sigmoid(w [x; h] + b)       [B, T, 1]
// The paper splits D into four heads that all read y: together they are one matrix. Its `small`
// takes the mean of G over the positions of a sample, which in a decoder would let a token see
// those behind it, so here every token has its own. The gates of large, middle_x and small are near
// 1/2 at first: unlike other adapters these change the model before the first update.
#pragma once

#include <memory>

#include "models/adapters/adapter.h"
#include "models/adapters/adapter_config.h"

namespace gradwire {

std::unique_ptr<Adapter> make_vl_pet(Context& cx, const Site& site, const std::string& name,
                                     const AdapterConfig& config);

}  // namespace gradwire
