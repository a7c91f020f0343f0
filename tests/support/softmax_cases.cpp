#include <algorithm>
#include <cmath>

#include "core/ops/cross_entropy/cross_entropy.h"
#include "core/ops/softmax/softmax.h"
#include "tests/support/op_cases.h"

namespace gradwire::test {
namespace {

// log softmax of row r of width n.
std::vector<double> log_probabilities(const std::vector<double>& x, std::size_t r, std::size_t n) {
  const double* row = x.data() + r * n;
  const double most = *std::max_element(row, row + n);
  double sum = 0.0;
  for (std::size_t i = 0; i < n; ++i)
    sum += std::exp(row[i] - most);
  std::vector<double> y(n);
  for (std::size_t i = 0; i < n; ++i)
    y[i] = row[i] - most - std::log(sum);
  return y;
}

OpCase softmax_case(bool is_log, const char* suffix, const Shape& shape, double reach) {
  OpCase c;
  c.op = is_log ? "log_softmax" : "softmax";
  c.name = c.op + suffix;
  c.inputs = {{.shape = shape, .low = -reach, .high = reach}};
  c.reduction = shape[-1];
  c.build = [is_log](Context& cx, Tape& t, std::span<const Var> x) {
    return is_log ? log_softmax(cx, t, x[0]) : softmax(cx, t, x[0]);
  };
  c.reference = [is_log, n = static_cast<std::size_t>(shape[-1])](const Values& x) {
    std::vector<double> y;
    for (std::size_t r = 0; r < x[0].size() / n; ++r) {
      for (const double v : log_probabilities(x[0], r, n))
        y.push_back(is_log ? v : std::exp(v));
    }
    return y;
  };
  return c;
}

// Every third row is ignored.
std::vector<std::int32_t> targets_of(std::int64_t rows, std::int64_t width, std::int32_t ignored) {
  std::vector<std::int32_t> targets;
  for (std::int64_t r = 0; r < rows; ++r) {
    targets.push_back(r % 3 == 2 ? ignored : static_cast<std::int32_t>((7 * r + 3) % width));
  }
  return targets;
}

OpCase cross_entropy_case(const char* suffix, const Shape& shape, CrossEntropyOptions options) {
  const std::int64_t width = shape[-1], rows = shape.numel() / width;
  const auto targets = targets_of(rows, width, options.ignore_index);
  OpCase c;
  c.op = "cross_entropy";
  c.name = c.op + suffix;
  c.inputs = {{.shape = shape, .low = -3.0, .high = 3.0}};
  c.reduction = width;
  c.build = [=](Context& cx, Tape& t, std::span<const Var> x) {
    return cross_entropy(cx, t, x[0], Tensor::from(cx, {rows}, targets), options);
  };
  c.reference = [=](const Values& x) {
    const double e = options.label_smoothing;
    double total = 0.0, counted = 0.0;
    for (std::size_t r = 0; r < targets.size(); ++r) {
      if (targets[r] == options.ignore_index) continue;
      const auto y = log_probabilities(x[0], r, static_cast<std::size_t>(width));
      total -= (1.0 - e) * y[static_cast<std::size_t>(targets[r])];
      for (const double v : y)
        total -= e * v / static_cast<double>(width);
      counted += 1.0;
    }
    return std::vector<double>{counted == 0.0 ? 0.0 : total / counted};
  };
  return c;
}

}  // namespace

std::vector<OpCase> softmax_cases() {
  std::vector<OpCase> cases;
  for (const bool is_log : {false, true}) {
    cases.push_back(softmax_case(is_log, "", {4, 23}, 3.0));
    cases.push_back(softmax_case(is_log, "_steep", {3, 2, 9}, 40.0));
    cases.push_back(softmax_case(is_log, "_one_wide", {5, 1}, 3.0));
    cases.push_back(softmax_case(is_log, "_large", {130, 517}, 5.0));
  }
  cases.push_back(cross_entropy_case("", {7, 19}, {}));
  cases.push_back(cross_entropy_case("_batched", {2, 4, 11}, {.ignore_index = 0}));
  cases.push_back(cross_entropy_case("_smoothed", {6, 15}, {.label_smoothing = 0.1}));
  cases.push_back(cross_entropy_case("_large", {90, 997}, {}));
  cases.push_back(cross_entropy_case("_wide", {4, 4104}, {.label_smoothing = 0.1}));
  return cases;
}

}  // namespace gradwire::test
