#include <cmath>

#include "core/ops/norm/norm.h"
#include "tests/support/op_cases.h"

namespace gradwire::test {
namespace {

constexpr double kEps = 1e-5;

OpCase norm_case(bool layer, const char* suffix, const Shape& shape) {
  const std::int64_t width = shape[-1];
  OpCase c;
  c.op = layer ? "layernorm" : "rmsnorm";
  c.name = c.op + suffix;
  c.inputs = {{.shape = shape}, {.shape = {width}, .low = 0.5, .high = 1.5, .weight = true}};
  if (layer) c.inputs.push_back({.shape = {width}, .weight = true});
  c.reduction = std::max(width, shape.numel() / width);
  c.build = [layer](Context& cx, Tape& t, std::span<const Var> x) {
    return layer ? layernorm(cx, t, x[0], x[1], x[2], kEps) : rmsnorm(cx, t, x[0], x[1], kEps);
  };
  c.reference = [layer, width](const Values& x) {
    const std::size_t n = static_cast<std::size_t>(width);
    std::vector<double> y(x[0].size());
    for (std::size_t r = 0; r < y.size(); r += n) {
      double mean = 0.0, square = 0.0;
      for (std::size_t i = 0; layer && i < n; ++i)
        mean += x[0][r + i] / static_cast<double>(n);
      for (std::size_t i = 0; i < n; ++i) {
        square += std::pow(x[0][r + i] - mean, 2.0) / static_cast<double>(n);
      }
      for (std::size_t i = 0; i < n; ++i) {
        y[r + i] = (x[0][r + i] - mean) / std::sqrt(square + kEps) * x[1][i];
        if (layer) y[r + i] += x[2][i];
      }
    }
    return y;
  };
  return c;
}

}  // namespace

std::vector<OpCase> norm_cases() {
  std::vector<OpCase> cases;
  for (const bool layer : {false, true}) {
    cases.push_back(norm_case(layer, "", {3, 17}));
    cases.push_back(norm_case(layer, "_batched", {2, 5, 24}));
    cases.push_back(norm_case(layer, "_large", {300, 257}));
    cases.push_back(norm_case(layer, "_packed", {37, 776}));
    cases.push_back(norm_case(layer, "_wide", {9, 2064}));
  }
  // A layer of one has no variance, and a gradient of nothing but rounding.
  cases.push_back(norm_case(false, "_one_wide", {4, 1}));
  return cases;
}

}  // namespace gradwire::test
