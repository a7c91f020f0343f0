#include "tests/support/op_cases.h"

#include <cmath>

#include <fmt/format.h>

#include "tests/support/tolerance.h"

namespace gradwire::test {

std::vector<OpCase> op_cases() {
  std::vector<OpCase> all;
  for (const auto& family : {elementwise_cases(), reduce_cases(), shape_cases(), norm_cases(),
                             softmax_cases(), lookup_cases(), product_cases()}) {
    all.insert(all.end(), family.begin(), family.end());
  }
  return all;
}

std::vector<Tensor> make_inputs(Context& cx, const OpCase& c, DType type, std::uint64_t seed) {
  std::vector<Tensor> inputs;
  std::uint64_t next = 0;
  for (const OpInput& in : c.inputs) {
    std::vector<double> x(static_cast<std::size_t>(in.shape.numel()));
    for (double& v : x) {
      v = in.low + (in.high - in.low) * to_uniform(random_word(seed, next++));
      if (std::abs(v) < in.gap) v = std::copysign(in.gap, v);
    }
    const bool wide = in.weight && type == DType::kBf16;
    inputs.push_back(cast(cx, Tensor::from(cx, in.shape, x), wide ? DType::kF32 : type));
  }
  return inputs;
}

Values to_values(Context& cx, const std::vector<Tensor>& tensors) {
  Values values;
  for (const Tensor& t : tensors)
    values.push_back(t.to_host<double>(cx));
  return values;
}

OpResult run_case(const Context& cx, const OpCase& c, const std::vector<Tensor>& inputs,
                  bool backward) {
  Context own = cx;
  OpResult result;
  Tape tape;
  std::vector<Var> vars;
  for (const Tensor& t : inputs)
    vars.push_back(tape.input(t));
  result.output = tape.value(c.build(own, tape, vars)).to_host<double>(own);
  if (backward) result.gradients = tape_gradients(cx, c.build, inputs);
  return result;
}

std::string difference(const std::vector<double>& got, const std::vector<double>& want,
                       double rel) {
  if (got.size() != want.size()) {
    return fmt::format("{} elements instead of {}", got.size(), want.size());
  }
  double scale = 1.0;
  for (const double w : want) {
    if (std::isfinite(w)) scale = std::max(scale, std::abs(w));
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!agrees(got[i], want[i], rel, scale)) {
      return fmt::format("element {} of {}: {:.9g} instead of {:.9g}, allowed {:.3g} of {:.4g}", i,
                         got.size(), got[i], want[i], rel, scale);
    }
  }
  return {};
}

}  // namespace gradwire::test
