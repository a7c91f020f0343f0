// A backward that begins at several tensors at once is that of one scalar made of them.
#include "parallel/pipeline/stage_tape.h"

#include <gtest/gtest.h>

#include "core/ops/elementwise/elementwise.h"
#include "core/ops/linear/linear.h"
#include "core/ops/reduce/reduce.h"
#include "models/module.h"

namespace gradwire {
namespace {

constexpr std::int64_t kRows = 3, kWidth = 4;

class StageTapeTest : public testing::Test {
 protected:
  StageTapeTest() {
    init_normal(cx, w, "w", {kWidth, kWidth}, 1.0);
    init_normal(cx, v, "v", {kWidth, kWidth}, 1.0);
  }
  Tensor random(std::uint64_t seed) {
    Tensor t = Tensor::empty(cx, {kRows, kWidth}, DType::kF32);
    fill_normal(cx, t, Rng{seed, 0}, 1.0);
    return t;
  }
  // Two results that share a part.
  std::vector<Var> results(Tape& tape, Var x) {
    const Var shared = unary(cx, tape, Unary::kTanh, linear(cx, tape, x, tape.param(w)));
    return {linear(cx, tape, shared, tape.param(v)), mul(cx, tape, shared, shared)};
  }
  std::vector<std::vector<float>> gradients(const Tensor& of_input) {
    return {of_input.to_host<float>(cx), w.grad.to_host<float>(cx), v.grad.to_host<float>(cx)};
  }
  std::vector<std::vector<float>> of_one_root() {
    Tape tape;
    const Var x = tape.input(random(1));
    const std::vector<Var> y = results(tape, x);
    const Var a = mul(cx, tape, y[0], tape.constant(random(2)));
    const Var b = mul(cx, tape, y[1], tape.constant(random(3)));
    const Var loss = sum(cx, tape, add(cx, tape, a, b));
    tape.backward(cx, loss, Tensor::from(cx, {}, std::vector<float>{1.0F}));
    return gradients(tape.grad(x));
  }

  Runtime runtime;
  Context& cx = runtime.context();
  Parameter w, v;
};

TEST_F(StageTapeTest, SeveralRootsAreOneScalar) {
  const auto expected = of_one_root();
  for (const bool split : {false, true}) {
    clear_grad(w);
    clear_grad(v);
    StageTape stage(/*recording=*/true);
    std::vector<const Parameter*> ready;
    const std::span<const Var> in = stage.begin({{{kRows, kWidth}, DType::kF32}}, {random(1)});
    stage.end(cx, results(stage.tape(), in[0]));
    stage.tape().on_param_ready([&](Parameter& p) { ready.push_back(&p); });
    stage.backward(cx, {random(2), random(3)}, split);
    if (split) stage.backward_weights(cx);
    EXPECT_EQ(gradients(stage.input_gradients(cx)[0]), expected);
    EXPECT_EQ(ready, (std::vector<const Parameter*>{&v, &w}));
  }
}

// Parameters are ready, and the input gets zeros, if nothing asks for a gradient.
TEST_F(StageTapeTest, NoRootAtAll) {
  StageTape stage(/*recording=*/true);
  int ready = 0;
  const std::span<const Var> in =
      stage.begin({{{kRows, kWidth}, DType::kF32}, {{kRows, kWidth}, DType::kF32, false}},
                  {random(1), random(2)});
  results(stage.tape(), in[0]);
  stage.end(cx, {});
  stage.tape().on_param_ready([&](Parameter&) { ++ready; });
  stage.backward(cx, {}, /*split=*/false);
  EXPECT_EQ(ready, 2);
  EXPECT_TRUE(w.grad_empty && v.grad_empty);
  const std::vector<Tensor> gradients = stage.input_gradients(cx);
  ASSERT_EQ(gradients.size(), 1U);
  EXPECT_EQ(gradients[0].to_host<float>(cx), std::vector<float>(kRows * kWidth, 0.0F));
}

// A tensor that is handed on as it came adds its gradient to what the rest gives.
TEST_F(StageTapeTest, AnInputMayBeARoot) {
  StageTape stage(/*recording=*/true);
  const std::span<const Var> in = stage.begin({{{kRows, kWidth}, DType::kF32}}, {random(1)});
  stage.end(cx, std::vector<Var>{in[0], scaled(cx, stage.tape(), in[0], 2.0)});
  stage.backward(cx, {random(2), random(2)}, /*split=*/false);
  std::vector<float> expected = random(2).to_host<float>(cx);
  for (float& x : expected)
    x *= 3.0F;
  const std::vector<float> got = stage.input_gradients(cx)[0].to_host<float>(cx);
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_FLOAT_EQ(got[i], expected[i]);
}

}  // namespace
}  // namespace gradwire
