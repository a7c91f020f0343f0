// The op case list on CUDA against the CPU: outputs, gradients, edge values, repeatability.
#include <cmath>
#include <limits>
#include <numeric>

#include "core/ops/reduce/reduce.h"
#include "tests/core/cuda/fixture.h"
#include "tests/support/op_cases.h"
#include "tests/support/tolerance.h"

namespace gradwire::test {
namespace {

constexpr DType kFloats[] = {DType::kF64, DType::kF32, DType::kBf16};

using CudaOpCases = CudaTestWithParam<OpCase>;

std::string name_of_case(const testing::TestParamInfo<OpCase>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(List, CudaOpCases, testing::ValuesIn(op_cases()), name_of_case);

TEST_P(CudaOpCases, AgreeWithTheCpu) {
  const OpCase& c = GetParam();
  for (const DType type : kFloats) {
    const std::vector<Tensor> inputs = make_inputs(cpu, c, type);
    const std::vector<Tensor> device_inputs = on_cuda(inputs);
    const double rel = tolerance(type, c.reduction);
    const OpResult want = run_case(cpu, c, inputs, true);
    const OpResult got = run_case(cuda, c, device_inputs, true);
    EXPECT_EQ(difference(got.output, want.output, rel), "") << name_of(type);
    const Values as_parameters = tape_gradients(cuda, c.build, device_inputs, true);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      EXPECT_EQ(difference(got.gradients[i], want.gradients[i], rel), "")
          << name_of(type) << ", input " << i;
      EXPECT_EQ(difference(as_parameters[i], want.gradients[i], rel), "")
          << name_of(type) << ", parameter " << i;
    }
  }
}

TEST_P(CudaOpCases, RepeatBitForBit) {
  for (const DType type : {DType::kF32, DType::kBf16}) {
    const std::vector<Tensor> inputs = on_cuda(make_inputs(cpu, GetParam(), type));
    const OpResult once = run_case(cuda, GetParam(), inputs, true);
    const OpResult again = run_case(cuda, GetParam(), inputs, true);
    EXPECT_EQ(again.output, once.output) << name_of(type);
    EXPECT_EQ(again.gradients, once.gradients) << name_of(type);
  }
}

TEST_P(CudaOpCases, EdgeValuesAreFiniteWhereTheyAreOnTheCpu) {
  if (!GetParam().has_edges) return;
  constexpr float kEdges[] = {0.0F, -0.0F, 1e20F, -1e20F, 1e-40F, -1e-40F, 1.0F, -87.0F, 1e-20F};
  std::vector<Tensor> inputs;
  std::size_t next = 0;
  for (const OpInput& in : GetParam().inputs) {
    std::vector<float> x(static_cast<std::size_t>(in.shape.numel()));
    for (float& v : x)
      v = kEdges[next++ % std::size(kEdges)];
    ++next;
    inputs.push_back(Tensor::from(cpu, in.shape, x));
  }
  const std::vector<double> want = run_case(cpu, GetParam(), inputs, false).output;
  const std::vector<double> got = run_case(cuda, GetParam(), on_cuda(inputs), false).output;
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(std::isfinite(got[i]), std::isfinite(want[i])) << i << ": " << got[i];
}

// A comparison that accepts a wrong value would make the first test worthless.
TEST_P(CudaOpCases, ComparisonRejectsAPerturbedInput) {
  const OpCase& c = GetParam();
  std::vector<double> want = run_case(cpu, c, make_inputs(cpu, c, DType::kF32), false).output;
  const std::vector<double> got =
      run_case(cuda, c, on_cuda(make_inputs(cpu, c, DType::kF32)), false).output;
  const double rel = tolerance(DType::kF32, c.reduction);
  double most = 1.0;
  for (const double w : want)
    most = std::max(most, std::abs(w));
  want[want.size() / 2] += 3.0 * rel * most;
  EXPECT_NE(difference(got, want, rel), "");
}

using CudaReduce = CudaTest;

// Lengths around a block, a piece of a row and the chunks of a column.
TEST_F(CudaReduce, LongSumsAgreeWithTheCpu) {
  for (const DType type : kFloats) {
    for (const Axis axis : {Axis{1, 1, 1}, Axis{1, 16385, 1}, Axis{3, 40000, 1}, Axis{5000, 3, 1},
                            Axis{1, 700, 33}, Axis{2, 129, 1000}, Axis{70, 1, 31}}) {
      const Tensor host = Tensor::empty(cpu, {axis.outer, axis.length, axis.inner}, type);
      fill_uniform(cpu, host, Rng{3, 0}, -1.0, 1.0);
      EXPECT_EQ(difference(sum_axis(cuda, on_cuda(host), axis).to_host<double>(cuda),
                           sum_axis(cpu, host, axis).to_host<double>(cpu),
                           tolerance(type == DType::kBf16 ? DType::kF32 : type, axis.length)),
                "")
          << name_of(type) << " " << axis.outer << " " << axis.length << " " << axis.inner;
    }
  }
}

TEST_F(CudaReduce, SumOfSquaresOverSeveralTensorsIsTheCpus) {
  std::vector<Tensor> host;
  for (const auto& [n, type] : {std::pair{1, DType::kF32},
                                {100000, DType::kBf16},
                                {0, DType::kF32},
                                {33333, DType::kF64},
                                {16384, DType::kF32}}) {
    host.push_back(Tensor::empty(cpu, {n}, type));
    fill_uniform(cpu, host.back(), Rng{6, 0}, -1.0, 1.0);
  }
  const double want = sum_of_squares(cpu, host);
  EXPECT_TRUE(agrees(sum_of_squares(cuda, on_cuda(host)), want, tolerance(DType::kF64, 150000)));
  EXPECT_EQ(sum_of_squares(cuda, {}), 0.0);
}

TEST_F(CudaReduce, AllFiniteFindsOneBadElementAnywhere) {
  for (const DType type : kFloats) {
    for (const std::int64_t n : {1, 5, 8, 1003}) {
      const Tensor t = Tensor::zeros(cuda, {n + 1}, type);
      EXPECT_TRUE(all_finite(cuda, t));
      for (const std::int64_t at : {std::int64_t{0}, n / 2, n - 1}) {
        for (const double bad :
             {std::numeric_limits<double>::quiet_NaN(), -std::numeric_limits<double>::infinity()}) {
          const Tensor part = t.slice(1, n + 1);
          fill(cuda, part.slice(at, at + 1), bad);
          EXPECT_FALSE(all_finite(cuda, part)) << name_of(type) << " " << at << " of " << n;
          fill(cuda, part, 0.0);
        }
      }
    }
  }
}

}  // namespace
}  // namespace gradwire::test
