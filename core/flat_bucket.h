// Parameters whose gradients lie side by side in one flat buffer, so that they travel as one
// message. What optimizers and reducers keep for a bucket (momenta, residuals) has the same layout;
// names, never places, are its identity. A value: whoever made the buffer owns it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/tape.h"

namespace gradwire {

struct FlatBucket {
  Tensor flat;                     // f32 [n]: the gradients and the gaps between them, which are 0
  std::vector<Parameter*> params;  // in order of place
  std::vector<std::int64_t> begins;  // where in `flat` each begins

  std::int64_t numel() const { return flat.numel(); }
  // The place of parameter i in `other`, a tensor [n] of this layout, in the parameter's shape.
  Tensor view_in(const Tensor& other, std::size_t i) const {
    const Parameter& p = *params[i];
    return other.slice(begins[i], begins[i] + p.value.numel()).view(p.value.shape());
  }
};

}  // namespace gradwire
