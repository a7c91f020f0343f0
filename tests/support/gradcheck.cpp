#include "tests/support/gradcheck.h"

#include <cmath>
#include <list>

#include <fmt/format.h>

#include "core/error.h"
#include "tests/support/tolerance.h"

namespace gradwire::test {
namespace {

constexpr std::uint64_t kWeightSeed = 71;
constexpr std::uint64_t kDirectionSeed = 72;
constexpr int kMostLines = 5;

// In [-1, 1), never near zero, so that no output is left out.
double weight(std::int64_t i) {
  const double u = 2.0 * to_uniform(random_word(kWeightSeed, static_cast<std::uint64_t>(i))) - 1.0;
  return std::copysign(0.25 + 0.75 * std::abs(u), u);
}

Tensor weights(Context& cx, const Tensor& like) {
  std::vector<double> w(static_cast<std::size_t>(like.numel()));
  for (std::size_t i = 0; i < w.size(); ++i)
    w[i] = weight(static_cast<std::int64_t>(i));
  return cast(cx, Tensor::from(cx, like.shape(), w), like.dtype());
}

// <w, f(inputs)>; the context is a copy, so that random numbers repeat.
double value(Context cx, const Build& f, const std::vector<std::vector<double>>& x,
             const std::vector<Tensor>& like) {
  Tape tape(true);
  std::vector<Var> vars;
  for (std::size_t i = 0; i < x.size(); ++i) {
    vars.push_back(tape.input(Tensor::from(cx, like[i].shape(), x[i])));
  }
  const std::vector<double> y = tape.value(f(cx, tape, vars)).to_host<double>(cx);
  double sum = 0.0;
  for (std::size_t i = 0; i < y.size(); ++i)
    sum += weight(static_cast<std::int64_t>(i)) * y[i];
  return sum;
}

struct Direction {
  std::string name;
  std::vector<std::vector<double>> v;
};

std::vector<Direction> directions(const std::vector<Tensor>& inputs, const GradCheckOptions& o) {
  std::vector<std::vector<double>> zero;
  std::int64_t total = 0;
  for (const Tensor& t : inputs) {
    zero.emplace_back(static_cast<std::size_t>(t.numel()), 0.0);
    total += t.numel();
  }
  std::vector<Direction> all;
  if (total <= o.full_limit) {
    for (std::size_t i = 0; i < zero.size(); ++i) {
      for (std::size_t j = 0; j < zero[i].size(); ++j) {
        all.push_back({fmt::format("input {} element {}", i, j), zero});
        all.back().v[i][j] = 1.0;
      }
    }
    return all;
  }
  std::uint64_t next = 0;
  for (int d = 0; d < o.directions; ++d) {
    all.push_back({fmt::format("direction {}", d), zero});
    for (auto& part : all.back().v) {
      for (double& x : part)
        x = 2.0 * to_uniform(random_word(kDirectionSeed, next++)) - 1.0;
    }
  }
  return all;
}

std::vector<std::vector<double>> moved(std::vector<std::vector<double>> x, const Direction& d,
                                       double step) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::size_t j = 0; j < x[i].size(); ++j)
      x[i][j] += step * d.v[i][j];
  }
  return x;
}

}  // namespace

std::vector<std::vector<double>> tape_gradients(const Context& cx, const Build& f,
                                                const std::vector<Tensor>& inputs,
                                                bool as_parameters) {
  Context own = cx;
  Tape tape;
  std::list<Parameter> params;
  std::vector<Var> vars;
  for (const Tensor& t : inputs) {
    if (!as_parameters) {
      vars.push_back(tape.input(t));
      continue;
    }
    params.emplace_back().value = t;
    vars.push_back(tape.param(params.back()));
  }
  const Var y = f(own, tape, vars);
  tape.backward(own, y, weights(own, tape.value(y)));
  std::vector<std::vector<double>> grads;
  auto param = params.begin();
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Tensor g = as_parameters ? (param++)->grad : tape.grad(vars[i]);
    grads.push_back(g ? g.to_host<double>(own)
                      : std::vector<double>(static_cast<std::size_t>(inputs[i].numel()), 0.0));
  }
  return grads;
}

std::string gradient_mismatch(const Context& cx, const Build& f, const std::vector<Tensor>& inputs,
                              const GradCheckOptions& options) {
  const auto grads = tape_gradients(cx, f, inputs, options.as_parameters);
  Context own = cx;
  std::vector<std::vector<double>> x;
  for (const Tensor& t : inputs) {
    check(t.dtype() == DType::kF64, ErrorKind::kUsage, "gradient check: inputs must be f64");
    x.push_back(t.to_host<double>(own));
  }
  std::string found;
  int lines = 0;
  const double step = central_difference_step();
  for (const Direction& d : directions(inputs, options)) {
    double analytic = 0.0, size = 0.0;
    std::int64_t terms = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t j = 0; j < x[i].size(); ++j) {
        analytic += grads[i][j] * d.v[i][j];
        size += std::abs(grads[i][j] * d.v[i][j]);
        ++terms;
      }
    }
    const double up = value(cx, f, moved(x, d, step), inputs);
    const double down = value(cx, f, moved(x, d, -step), inputs);
    const double numeric = (up - down) / (2.0 * step);
    const double scale = std::max({1.0, size, std::abs(up)});
    if (agrees(analytic, numeric, central_difference_tolerance(terms), scale)) continue;
    if (++lines > kMostLines) break;
    found +=
        fmt::format("{}: tape {:.10g}, central difference {:.10g}\n", d.name, analytic, numeric);
  }
  return found;
}

}  // namespace gradwire::test
