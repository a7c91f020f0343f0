#include "core/ops/reduce/reduce.h"
#include "tests/support/op_cases.h"

namespace gradwire::test {
namespace {

OpCase total_case(bool is_mean, const char* suffix, const Shape& shape) {
  OpCase c;
  c.op = is_mean ? "mean" : "sum";
  c.name = c.op + suffix;
  c.inputs = {{.shape = shape}};
  c.reduction = shape.numel();
  c.build = [is_mean](Context& cx, Tape& t, std::span<const Var> x) {
    return is_mean ? mean(cx, t, x[0]) : sum(cx, t, x[0]);
  };
  c.reference = [is_mean](const Values& x) {
    double total = 0.0;
    for (const double v : x[0])
      total += v;
    return std::vector<double>{is_mean ? total / static_cast<double>(x[0].size()) : total};
  };
  return c;
}

OpCase sum_dim_case(const char* suffix, const Shape& shape, int dim) {
  OpCase c;
  c.op = "sum_dim";
  c.name = c.op + suffix;
  c.inputs = {{.shape = shape}};
  c.reduction = shape[dim];
  c.build = [dim](Context& cx, Tape& t, std::span<const Var> x) {
    return sum_dim(cx, t, x[0], dim);
  };
  c.reference = [shape, dim](const Values& x) {
    const int d = dim < 0 ? dim + shape.rank() : dim;
    std::int64_t inner = 1;
    for (int i = d + 1; i < shape.rank(); ++i)
      inner *= shape[i];
    std::vector<double> y(static_cast<std::size_t>(shape.numel() / shape[d]), 0.0);
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      const std::int64_t outer = i / inner / shape[d];
      y[static_cast<std::size_t>(outer * inner + i % inner)] += x[0][static_cast<std::size_t>(i)];
    }
    return y;
  };
  return c;
}

}  // namespace

std::vector<OpCase> reduce_cases() {
  return {total_case(false, "", {9, 13}),        total_case(false, "_large", {70001}),
          total_case(true, "", {3, 5, 7}),       sum_dim_case("_first", {17, 6}, 0),
          sum_dim_case("_middle", {3, 9, 5}, 1), sum_dim_case("_last", {4, 33}, -1),
          sum_dim_case("_tall", {5000, 20}, 0),  sum_dim_case("_wide", {3, 2, 20011}, 1)};
}

}  // namespace gradwire::test
