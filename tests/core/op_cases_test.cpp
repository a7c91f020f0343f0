// Every op of the list against its reference, numeric gradients, other float types, edge values and
// thread counts. CMake runs this suite once more for each lesser instruction set.
#include "tests/support/op_cases.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <regex>
#include <set>

#include <gtest/gtest.h>

#include "core/ops/elementwise/elementwise.h"
#include "core/parallel_for.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerance.h"

namespace gradwire::test {
namespace {

class OpCases : public testing::TestWithParam<OpCase> {
 protected:
  Runtime runtime;
  Context& cx = runtime.context();
};

std::string describe(const testing::TestParamInfo<OpCase>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(List, OpCases, testing::ValuesIn(op_cases()), describe);

TEST_P(OpCases, AgreesWithTheReference) {
  for (const DType type : {DType::kF64, DType::kF32, DType::kBf16}) {
    const auto inputs = make_inputs(cx, GetParam(), type);
    const auto want = GetParam().reference(to_values(cx, inputs));
    const auto got = run_case(cx, GetParam(), inputs, false).output;
    EXPECT_EQ(difference(got, want, tolerance(type, GetParam().reduction)), "") << name_of(type);
  }
}

TEST_P(OpCases, GradientAgreesWithCentralDifferences) {
  const auto inputs = make_inputs(cx, GetParam(), DType::kF64);
  for (const bool as_parameters : {false, true}) {
    EXPECT_EQ(gradient_mismatch(cx, GetParam().build, inputs, {.as_parameters = as_parameters}), "")
        << (as_parameters ? "parameters" : "inputs");
  }
}

// A kernel would follow a pointer into the memory of another device. The stray operand lies in host
// memory here and only says that it is on a GPU, so that any build can make it.
TEST_P(OpCases, RefusesAnOperandOfAnotherDevice) {
  const auto inputs = make_inputs(cx, GetParam(), DType::kF32);
  Context elsewhere = cx;
  elsewhere.stream.device = {DeviceType::kCuda, 1};
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    auto mixed = inputs;
    mixed[i] = Tensor::empty(elsewhere, inputs[i].shape(), inputs[i].dtype());
    expect_error(ErrorKind::kDevice, "runs on cpu, but operand",
                 [&] { run_case(cx, GetParam(), mixed, false); });
  }
}

// The f64 gradient has been checked above; the other types compute the same from rounded inputs.
TEST_P(OpCases, GradientsOfLesserTypesAgreeWithDouble) {
  for (const DType type : {DType::kF32, DType::kBf16}) {
    const auto inputs = make_inputs(cx, GetParam(), type);
    std::vector<Tensor> wide;
    for (const Tensor& t : inputs)
      wide.push_back(cast(cx, t, DType::kF64));
    const auto got = run_case(cx, GetParam(), inputs, true).gradients;
    const auto want = run_case(cx, GetParam(), wide, true).gradients;
    for (std::size_t i = 0; i < want.size(); ++i) {
      EXPECT_EQ(difference(got[i], want[i], tolerance(type, GetParam().reduction)), "")
          << name_of(type) << ", input " << i;
    }
  }
}

TEST_P(OpCases, RepeatsBitForBitForAnyNumberOfThreads) {
  const int before = thread_count();
  for (const DType type : {DType::kF32, DType::kBf16}) {
    const auto inputs = make_inputs(cx, GetParam(), type);
    set_thread_count(1);
    const OpResult one = run_case(cx, GetParam(), inputs, true);
    for (const int threads : {2, 3}) {
      set_thread_count(threads);
      const OpResult many = run_case(cx, GetParam(), inputs, true);
      EXPECT_EQ(many.output, one.output) << threads << " threads, " << name_of(type);
      EXPECT_EQ(many.gradients, one.gradients) << threads << " threads, " << name_of(type);
    }
  }
  set_thread_count(before);
}

TEST_P(OpCases, EdgeValuesGiveFiniteOutputsWhereTheReferenceIsFinite) {
  if (!GetParam().has_edges) return;
  constexpr float kEdges[] = {0.0F, -0.0F, 1e15F, -1e15F, 1e-40F, -1e-40F, 1.0F, -87.0F, 1e-20F};
  std::vector<Tensor> inputs;
  std::size_t next = 0;
  for (const OpInput& in : GetParam().inputs) {
    std::vector<float> x(static_cast<std::size_t>(in.shape.numel()));
    for (float& v : x)
      v = kEdges[next++ % std::size(kEdges)];
    ++next;  // so that two operands do not meet with the same value everywhere
    inputs.push_back(Tensor::from(cx, in.shape, x));
  }
  const auto want = GetParam().reference(to_values(cx, inputs));
  const auto got = run_case(cx, GetParam(), inputs, false).output;
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const bool representable = std::abs(want[i]) < std::numeric_limits<float>::max();
    EXPECT_TRUE(!representable || std::isfinite(got[i])) << i << ": " << got[i] << ", " << want[i];
  }
}

TEST_P(OpCases, SteadyStateTakesNothingFromTheSystem) {
  const auto inputs = make_inputs(cx, GetParam(), DType::kF32);
  run_case(cx, GetParam(), inputs, true);
  const std::int64_t before = runtime.allocator().stats().system_allocations;
  run_case(cx, GetParam(), inputs, true);
  EXPECT_EQ(runtime.allocator().stats().system_allocations, before);
}

// A comparison that accepts a wrong value would make every test above worthless.
TEST_P(OpCases, ComparisonRejectsAPerturbedExpectation) {
  const auto inputs = make_inputs(cx, GetParam(), DType::kF32);
  const auto got = run_case(cx, GetParam(), inputs, false).output;
  std::vector<double> want = GetParam().reference(to_values(cx, inputs));
  const double rel = tolerance(DType::kF32, GetParam().reduction);
  double most = 1.0;
  for (const double w : want)
    most = std::max(most, std::abs(w));
  want[want.size() / 2] += 3.0 * rel * most;
  EXPECT_NE(difference(got, want, rel), "");
}

TEST(OpCaseList, NamesAreUnique) {
  std::set<std::string> names;
  for (const OpCase& c : op_cases())
    EXPECT_TRUE(names.insert(c.name).second) << c.name;
}

// The public functions are those whose declaration begins a line: `Var name(`.
TEST(OpCaseList, NamesEveryPublicOp) {
  std::set<std::string> covered, declared;
  for (const OpCase& c : op_cases())
    covered.insert(c.op);
  const std::regex declaration(R"(^Var (\w+)\()");
  const std::filesystem::path ops = std::filesystem::path(GW_SOURCE_DIR) / "core" / "ops";
  for (const auto& entry : std::filesystem::recursive_directory_iterator(ops)) {
    if (entry.path().extension() != ".h") continue;
    std::ifstream file(entry.path());
    std::smatch match;
    for (std::string line; std::getline(file, line);) {
      if (std::regex_search(line, match, declaration)) declared.insert(match[1]);
    }
  }
  EXPECT_GE(declared.size(), 20U);
  for (const std::string& op : declared)
    EXPECT_TRUE(covered.contains(op)) << op;
}

TEST(GradientCheck, FindsAWrongGradient) {
  Runtime runtime;
  Context& cx = runtime.context();
  const Build wrong = [](Context& c, Tape& tape, std::span<const Var> x) {
    const Tensor y = cast(c, tape.value(x[0]), DType::kF64);
    const Tensor copy_of_y = Tensor::empty(c, y.shape(), y.dtype());
    copy(c, copy_of_y, y);
    return tape.record(copy_of_y, {x[0]}, [v = x[0]](Context& k, Tape& t, const Tensor& dy) {
      const Tensor dx = Tensor::zeros(k, dy.shape(), dy.dtype());
      add_scaled(k, dx, dy, 1.0001);
      t.accumulate(k, v, dx);
    });
  };
  for (const std::int64_t n : {5, 1000}) {  // element by element, and along directions
    const std::vector<Tensor> inputs{
        Tensor::from(cx, {n}, std::vector<double>(static_cast<std::size_t>(n), 0.5))};
    EXPECT_NE(gradient_mismatch(cx, wrong, inputs), "") << n;
  }
}

}  // namespace
}  // namespace gradwire::test
