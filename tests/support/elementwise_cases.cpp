#include <cmath>
#include <numbers>

#include "core/ops/elementwise/elementwise.h"
#include "tests/support/op_cases.h"

namespace gradwire::test {
namespace {

double naive(Unary u, double x) {
  switch (u) {
    case Unary::kSilu: return x / (1.0 + std::exp(-x));
    case Unary::kGelu: return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Unary::kGeluTanh:
      return 0.5 * x *
             (1.0 + std::tanh(std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Unary::kRelu: return std::max(x, 0.0);
    case Unary::kTanh: return std::tanh(x);
    case Unary::kSigmoid: return 1.0 / (1.0 + std::exp(-x));
    case Unary::kExp: return std::exp(x);
    case Unary::kSquare: return x * x;
    case Unary::kCount: break;
  }
  return 0.0;
}

OpCase unary_case(Unary u, const char* suffix, const Shape& shape, double reach) {
  OpCase c;
  c.op = "unary";
  c.name = std::string("unary_") + name_of(u) + suffix;
  c.inputs = {{.shape = shape, .low = -reach, .high = reach, .gap = 1e-3}};
  c.build = [u](Context& cx, Tape& t, std::span<const Var> x) { return unary(cx, t, u, x[0]); };
  c.reference = [u](const Values& x) {
    std::vector<double> y;
    for (const double v : x[0])
      y.push_back(naive(u, v));
    return y;
  };
  return c;
}

OpCase gated_case(Unary u) {
  OpCase c;
  c.op = "gated";
  c.name = std::string("gated_") + name_of(u);
  c.inputs = {{.shape = {3, 29}, .gap = 1e-3}, {.shape = {3, 29}}};
  c.build = [u](Context& cx, Tape& t, std::span<const Var> x) {
    return gated(cx, t, u, x[0], x[1]);
  };
  c.reference = [u](const Values& x) {
    std::vector<double> y;
    for (std::size_t i = 0; i < x[0].size(); ++i)
      y.push_back(naive(u, x[0][i]) * x[1][i]);
    return y;
  };
  return c;
}

// The value of the operand of shape `own` that stretches to place i of `out`.
double stretched(const std::vector<double>& x, const Shape& own, const Shape& out, std::size_t i) {
  std::int64_t rest = static_cast<std::int64_t>(i), offset = 0, stride = 1;
  for (int d = out.rank(); d-- > 0;) {
    const std::int64_t place = rest % out[d];
    rest /= out[d];
    const int mine = d - (out.rank() - own.rank());
    if (mine < 0) continue;
    if (own[mine] > 1) offset += place * stride;
    stride *= own[mine];
  }
  return x[static_cast<std::size_t>(offset)];
}

struct BinaryShapes {
  const char* suffix;
  Shape a, b, out;
};

OpCase binary_case(bool is_add, const BinaryShapes& s) {
  OpCase c;
  c.op = is_add ? "add" : "mul";
  c.name = c.op + "_" + s.suffix;
  c.inputs = {{.shape = s.a}, {.shape = s.b}};
  c.reduction = std::max(s.out.numel() / s.a.numel(), s.out.numel() / s.b.numel());
  c.build = [is_add](Context& cx, Tape& t, std::span<const Var> x) {
    return is_add ? add(cx, t, x[0], x[1]) : mul(cx, t, x[0], x[1]);
  };
  c.reference = [is_add, s](const Values& x) {
    std::vector<double> y(static_cast<std::size_t>(s.out.numel()));
    for (std::size_t i = 0; i < y.size(); ++i) {
      const double a = stretched(x[0], s.a, s.out, i), b = stretched(x[1], s.b, s.out, i);
      y[i] = is_add ? a + b : a * b;
    }
    return y;
  };
  return c;
}

OpCase scaled_case() {
  OpCase c;
  c.op = c.name = "scaled";
  c.inputs = {{.shape = {7, 11}}};
  c.build = [](Context& cx, Tape& t, std::span<const Var> x) { return scaled(cx, t, x[0], -0.75); };
  c.reference = [](const Values& x) {
    std::vector<double> y;
    for (const double v : x[0])
      y.push_back(-0.75 * v);
    return y;
  };
  return c;
}

}  // namespace

std::vector<OpCase> elementwise_cases() {
  std::vector<OpCase> cases;
  for (int u = 0; u < static_cast<int>(Unary::kCount); ++u) {
    cases.push_back(unary_case(static_cast<Unary>(u), "", {5, 37}, 4.0));
    cases.push_back(gated_case(static_cast<Unary>(u)));
  }
  cases.push_back(unary_case(Unary::kGelu, "_large", {3, 40009}, 12.0));
  cases.push_back(unary_case(Unary::kGeluTanh, "_wide", {190}, 20.0));
  const BinaryShapes shapes[] = {
      {"same", {4, 19}, {4, 19}, {4, 19}},
      {"row", {6, 21}, {21}, {6, 21}},
      {"column", {6, 1}, {6, 21}, {6, 21}},
      {"scalar", {}, {5, 7}, {5, 7}},
      {"crossed", {3, 1, 5}, {4, 1}, {3, 4, 5}},
      {"alternating", {2, 1, 3, 1}, {1, 4, 1, 5}, {2, 4, 3, 5}},
      {"large_row", {700, 130}, {130}, {700, 130}},
      {"large_column", {700, 130}, {700, 1}, {700, 130}},
  };
  for (const BinaryShapes& s : shapes) {
    cases.push_back(binary_case(true, s));
    cases.push_back(binary_case(false, s));
  }
  cases.push_back(scaled_case());
  return cases;
}

}  // namespace gradwire::test
