// The one list of op cases. Each says how an op is built on a tape, from which inputs, and what it
// must give, by a naive loop over doubles; tests/core/op_cases_test.cpp runs all of them against
// the reference, numeric gradients, edge values and thread counts, and the CUDA suite against the
// CPU. An op whose `Var op(` stands in a header of core/ops and not in this list fails a test.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/tape.h"
#include "tests/support/gradcheck.h"

namespace gradwire::test {

struct OpInput {
  Shape shape;
  double low = -2.0, high = 2.0;  // values are drawn from [low, high)
  double gap = 0.0;               // and kept this far from zero, if the op has a kink there
  bool weight = false;            // f32 if the op runs in bf16, and enters as a parameter too
};

using Values = std::vector<std::vector<double>>;  // one per input, row-major
using Reference = std::function<std::vector<double>(const Values&)>;

struct OpCase {
  std::string op;    // the public function
  std::string name;  // unique, a C++ identifier
  std::vector<OpInput> inputs;
  Build build;
  Reference reference;
  std::int64_t reduction = 1;  // terms in the longest sum, forward or backward
  bool has_edges = true;       // edge values make sense as inputs
};

std::vector<OpCase> op_cases();

// The families; a new one is added to op_cases().
std::vector<OpCase> elementwise_cases();
std::vector<OpCase> reduce_cases();
std::vector<OpCase> shape_cases();
std::vector<OpCase> norm_cases();
std::vector<OpCase> softmax_cases();  // and cross-entropy
std::vector<OpCase> lookup_cases();   // embedding, dropout
std::vector<OpCase> product_cases();  // linear, matmul, attention, rope

// The inputs of a case in `type` (weights f32 for bf16), on the context's device, drawn from
// `seed` and rounded to their type; and the same numbers as doubles.
std::vector<Tensor> make_inputs(Context& cx, const OpCase& c, DType type, std::uint64_t seed = 1);
Values to_values(Context& cx, const std::vector<Tensor>& tensors);

struct OpResult {
  std::vector<double> output;
  Values gradients;  // of <w, output> for a fixed w; empty if not asked for
};
OpResult run_case(const Context& cx, const OpCase& c, const std::vector<Tensor>& inputs,
                  bool backward);

// Empty if every element agrees within rel (tolerance.h), sums judged by the largest of them.
std::string difference(const std::vector<double>& got, const std::vector<double>& want, double rel);

}  // namespace gradwire::test
