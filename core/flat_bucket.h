// Parameters whose gradients lie side by side in one flat buffer, so that they travel as one
// message. What optimizers and reducers keep for a bucket (momenta, residuals) has the same layout;
// names, never places, are its identity. A value: whoever made the buffer owns it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/tape.h"

namespace gradwire {

struct FlatBucket {
  Tensor flat;                     // f32 [n]: the gradients and the gaps between them, which are 0
  std::vector<Parameter*> params;  // in order of place
  std::vector<std::int64_t> begins;  // where in `flat` each begins
  bool uncompressed = false;         // always exchanged as it is: a reducer keeps nothing for it

  std::int64_t numel() const { return flat.numel(); }
  // The place of parameter i in `other`, a tensor [n] of this layout, in the parameter's shape.
  Tensor view_in(const Tensor& other, std::size_t i) const {
    const Parameter& p = *params[i];
    return other.slice(begins[i], begins[i] + p.value.numel()).view(p.value.shape());
  }
  // f(i, from, to) for each parameter i of which elements [from, to) lie in [begin, end).
  template <class F>
  void for_each_part(std::int64_t begin, std::int64_t end, const F& f) const {
    const auto after = std::upper_bound(begins.begin(), begins.end(), begin) - begins.begin();
    for (auto i = static_cast<std::size_t>(std::max<std::ptrdiff_t>(after, 1) - 1);
         i < begins.size() && begins[i] < end; ++i) {
      const std::int64_t from = std::max(begin - begins[i], std::int64_t{0});
      const std::int64_t to = std::min(end - begins[i], params[i]->value.numel());
      if (from < to) f(i, from, to);
    }
  }
};

}  // namespace gradwire
