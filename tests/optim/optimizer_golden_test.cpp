// Whole runs against PyTorch in float64: golden.py writes golden.txt, looked up here by name.
#include <fstream>
#include <map>
#include <sstream>

#include <gtest/gtest.h>

#include "optim/adamw.h"
#include "optim/sgd.h"
#include "tests/optim/parameters.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

constexpr int kElements = 37;
constexpr int kSteps = 12;

std::vector<double> golden(const std::string& name) {
  std::ifstream file(GW_OPTIM_GOLDEN);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string first;
    words >> first;
    if (first != name) continue;
    std::vector<double> values;
    for (double v = 0; words >> v;)
      values.push_back(v);
    return values;
  }
  ADD_FAILURE() << "no golden values named " << name << " in " << GW_OPTIM_GOLDEN;
  return {};
}

class OptimizerGolden : public testing::Test {
 protected:
  void expect_run_matches(const std::string& name, Optimizer& optimizer, double lr) {
    for (int step = 1; step <= kSteps; ++step) {
      std::vector<float> grad(kElements);
      for (int i = 0; i < kElements; ++i) {
        grad[static_cast<std::size_t>(i)] = static_cast<float>((i * 31 + step * 17) % 41 - 20) / 16;
      }
      params.set_grad(w, grad);
      optimizer.apply(cx, {.step = step, .lr = lr});
    }
    const std::vector<double> want = golden(name);
    const std::vector<float> got = w.value.to_host<float>(cx);
    ASSERT_EQ(want.size(), got.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(test::agrees(got[i], want[i], test::tolerance(DType::kF32, kSteps)))
          << name << '[' << i << "]: " << got[i] << " against " << want[i];
    }
  }
  static std::vector<float> start() {
    std::vector<float> w(kElements);
    for (int i = 0; i < kElements; ++i) {
      w[static_cast<std::size_t>(i)] = static_cast<float>((i * 79) % 101 - 50) / 64;
    }
    return w;
  }

  Runtime runtime;
  Context& cx = runtime.context();
  test::Parameters params{cx};
  Parameter& w = params.add("w", start());
};

TEST_F(OptimizerGolden, AdamW) {
  const auto o = make_adamw(cx, params.list(), {.weight_decay = 0.1});
  expect_run_matches("adamw", *o, 0.01);
}

TEST_F(OptimizerGolden, AdamWWithOtherRatesAndNoDecay) {
  const auto o = make_adamw(cx, params.list(),
                            {.beta1 = 0.8, .beta2 = 0.95, .eps = 0.05, .weight_decay = 0.0});
  expect_run_matches("adamw_no_decay", *o, 0.003);
}

TEST_F(OptimizerGolden, ExclusionByNameIsTheSameAsNoDecay) {
  const auto o = make_adamw(
      cx, params.list(),
      {.beta1 = 0.8, .beta2 = 0.95, .eps = 0.05, .weight_decay = 0.5, .no_decay = {"bias", "w*"}});
  expect_run_matches("adamw_no_decay", *o, 0.003);
}

TEST_F(OptimizerGolden, PlainSgd) {
  const auto o = make_sgd(cx, params.list(), {});
  expect_run_matches("sgd", *o, 0.05);
}

TEST_F(OptimizerGolden, SgdWithMomentum) {
  const auto o = make_sgd(cx, params.list(), {.momentum = 0.9, .weight_decay = 0.01});
  expect_run_matches("sgd_momentum", *o, 0.02);
}

TEST_F(OptimizerGolden, SgdWithNesterovMomentum) {
  const auto o =
      make_sgd(cx, params.list(), {.momentum = 0.9, .nesterov = true, .weight_decay = 0.01});
  expect_run_matches("sgd_nesterov", *o, 0.02);
}

}  // namespace
}  // namespace gradwire
