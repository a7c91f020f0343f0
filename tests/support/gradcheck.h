// Numeric gradients in double: what the tape says about <w, f(inputs)> for a fixed random w is
// compared with central differences. Few inputs are checked one by one, many along random
// directions. Works for any function of f64 tensors; random ops see the same numbers each time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/tape.h"

namespace gradwire::test {

using Build = std::function<Var(Context&, Tape&, std::span<const Var>)>;

struct GradCheckOptions {
  bool as_parameters = false;     // inputs enter through param() instead of input()
  std::int64_t full_limit = 200;  // up to so many elements each one is perturbed
  int directions = 8;             // of random projections above the limit
};

// Empty if the gradients agree, else a line for each disagreement (the first few).
std::string gradient_mismatch(const Context& cx, const Build& f, const std::vector<Tensor>& inputs,
                              const GradCheckOptions& options = {});

// Gradients of <w, f(inputs)> by the tape, one per input, as doubles on the host; an input that no
// gradient reached gives zeros. w is fixed by the number of outputs alone.
std::vector<std::vector<double>> tape_gradients(const Context& cx, const Build& f,
                                                const std::vector<Tensor>& inputs,
                                                bool as_parameters = false);

}  // namespace gradwire::test
