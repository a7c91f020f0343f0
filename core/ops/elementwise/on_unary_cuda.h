// From the name of a unary function to its functor, for the CUDA kernels that instantiate one per
// function.
#pragma once

#include <utility>

#include "core/ops/elementwise/elementwise_math.h"

namespace gradwire::cuda {

// Calls f(UnaryFn<which>{}).
template <class F>
void on_unary(Unary which, const F& f) {
  [&]<int... kRows>(std::integer_sequence<int, kRows...>) {
    static_cast<void>(
        ((static_cast<Unary>(kRows) == which ? (f(UnaryFn<static_cast<Unary>(kRows)>{}), true)
                                             : false) ||
         ...));
  }
  (std::make_integer_sequence<int, static_cast<int>(Unary::kCount)>{});
}

}  // namespace gradwire::cuda
