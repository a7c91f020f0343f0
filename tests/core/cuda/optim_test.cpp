// The update rules on CUDA against the CPU.
#include <memory>
#include <string>
#include <vector>

#include "optim/adamw.h"
#include "optim/sgd.h"
#include "tests/core/cuda/fixture.h"
#include "tests/support/tolerance.h"

namespace gradwire::test {
namespace {

constexpr int kSteps = 5;
// Sizes of parameters, more than one launch takes.
const std::vector<std::int64_t> kSizes = [] {
  std::vector<std::int64_t> sizes{1, 3, 4, 1000, 70001};
  sizes.resize(90, 4099);
  return sizes;
}();

// The values after some steps, from the same start and gradients on any device. The second
// parameter never gets a gradient; the buffers of all begin at odd places of a larger one.
template <class Make>
std::vector<std::vector<double>> train(Context& cx, const Make& make) {
  std::vector<std::unique_ptr<Parameter>> params;
  std::vector<Parameter*> list;
  for (const std::int64_t n : kSizes) {
    Parameter& p = *params.emplace_back(std::make_unique<Parameter>());
    p.name = "p" + std::to_string(n) + "_" + std::to_string(params.size());
    const Tensor buffer = Tensor::empty(cx, {2 * n + 1}, DType::kF32);
    fill_normal(cx, buffer, Rng{11, 0}, 0.5);
    p.value = buffer.slice(0, n);
    p.grad = buffer.slice(n + 1, 2 * n + 1);
    list.push_back(&p);
  }
  const std::unique_ptr<Optimizer> optimizer = make(cx, list);
  for (int step = 1; step <= kSteps; ++step) {
    const StepInfo info{.step = step, .lr = 0.01, .grad_scale = 0.5};
    for (std::size_t i = 0; i < list.size(); ++i) {
      fill_normal(cx, list[i]->grad, Rng{static_cast<std::uint64_t>(step), i}, 1.0);
      list[i]->grad_empty = i == 1;
    }
    optimizer->apply(cx, info);
  }
  std::vector<std::vector<double>> values;
  for (const Parameter* p : list)
    values.push_back(p->value.to_host<double>(cx));
  return values;
}

class CudaOptimizer : public CudaTest {
 protected:
  template <class Make>
  void expect_same(const Make& make) {
    const auto want = train(cpu, make), got = train(cuda, make);
    for (std::size_t i = 0; i < want.size(); ++i) {
      for (std::size_t j = 0; j < want[i].size(); ++j) {
        ASSERT_TRUE(agrees(got[i][j], want[i][j], tolerance(DType::kF32, kSteps)))
            << kSizes[i] << "[" << j << "]: " << got[i][j] << " instead of " << want[i][j];
      }
    }
  }
};

TEST_F(CudaOptimizer, AdamWAgreesWithTheCpu) {
  expect_same([](Context& cx, std::span<Parameter* const> params) {
    return make_adamw(cx, params, {.weight_decay = 0.1, .no_decay = {"p4_*"}});
  });
}

TEST_F(CudaOptimizer, SgdAgreesWithTheCpu) {
  for (const auto& [momentum, nesterov] : {std::pair{0.0, false}, {0.9, false}, {0.9, true}}) {
    const SgdConfig config{
        .momentum = momentum, .nesterov = nesterov, .weight_decay = 0.1, .no_decay = {}};
    expect_same([&](Context& cx, std::span<Parameter* const> params) {
      return make_sgd(cx, params, config);
    });
  }
}

}  // namespace
}  // namespace gradwire::test
