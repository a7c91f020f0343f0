// Ops that work row by row: normalisation, softmax, cross-entropy.
#include <cmath>
#include <limits>

#include "core/ops/cross_entropy/cross_entropy.h"
#include "core/ops/norm/norm.h"
#include "core/ops/softmax/softmax.h"
#include "tests/support/op_fixture.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

class RowsTest : public test::OpTest {};

TEST_F(RowsTest, NormTakesF32WeightsWithBf16AndFreezesThem) {
  Parameter w;
  w.value = random({64});
  w.trainable = false;
  Tape tape;
  const Var x = tape.input(random({8, 64}, DType::kBf16));
  const Var y = rmsnorm(cx, tape, x, tape.param(w), 1e-6);
  EXPECT_EQ(tape.value(y).dtype(), DType::kBf16);
  tape.backward(cx, y, random({8, 64}, DType::kBf16, 2));
  EXPECT_TRUE(tape.grad(x));
  EXPECT_FALSE(w.grad);
}

TEST_F(RowsTest, NormAddsToAGradientThatIsThere) {
  Parameter w;
  w.value = random({16});
  std::vector<float> once;
  for (int micro = 0; micro < 2; ++micro) {
    Tape tape;
    const Var y = rmsnorm(cx, tape, tape.constant(random({40, 16})), tape.param(w), 1e-6);
    tape.backward(cx, y, random({40, 16}, DType::kF32, 2));
    if (micro == 0) once = values(w.grad);
  }
  const auto twice = values(w.grad);
  for (std::size_t i = 0; i < once.size(); ++i) {
    EXPECT_TRUE(test::agrees(twice[i], 2.0 * once[i], test::tolerance(DType::kF32, 40)));
  }
}

TEST_F(RowsTest, NormRejectsWeightsThatDoNotFit) {
  using test::expect_error;
  Tape tape;
  const Var x = tape.input(random({2, 8}));
  const Var narrow = tape.input(random({7}));
  const Var half = tape.input(random({8}, DType::kBf16));
  const Var w = tape.input(random({8}));
  expect_error(ErrorKind::kShape, "rmsnorm: x f32 [2, 8] with a weight f32 [7]",
               [&] { rmsnorm(cx, tape, x, narrow, 1e-6); });
  expect_error(ErrorKind::kShape, "weight bf16 [8]",
               [&] { layernorm(cx, tape, x, half, w, 1e-6); });
  expect_error(ErrorKind::kShape, "layernorm: x f32 [2, 8] with a weight f32 [7]",
               [&] { layernorm(cx, tape, x, w, narrow, 1e-6); });
}

TEST_F(RowsTest, SoftmaxGivesNothingToMaskedPlaces) {
  const float masked = -std::numeric_limits<float>::infinity();
  Tape tape;
  const Var y = softmax(cx, tape, tape.constant(vec({1.0F, masked, 1.0F})));
  EXPECT_EQ(values(tape.value(y)), (std::vector<float>{0.5F, 0.0F, 0.5F}));
  const Var scalar = tape.constant(Tensor::zeros(cx, {}, DType::kF32));
  test::expect_error(ErrorKind::kShape, "no last dimension", [&] { softmax(cx, tape, scalar); });
}

// What every token model relies on for memory: no second tensor of the logits' size in backward.
TEST_F(RowsTest, CrossEntropyWritesTheGradientOverLogitsNobodyHolds) {
  Tape tape;
  const Var x = tape.input(random({64, 500}));
  const void* logits = tape.value(x).raw();
  const Var loss = cross_entropy(cx, tape, x, ids(std::vector<std::int32_t>(64, 3)));
  runtime.allocator().reset_peaks();
  const std::size_t before = runtime.allocator().stats().live_bytes;
  tape.backward(cx, loss, vec({1}).view({}));
  EXPECT_EQ(tape.grad(x).raw(), logits);
  EXPECT_LT(runtime.allocator().stats().peak_bytes, before + 64 * 500 * sizeof(float) / 2);
}

TEST_F(RowsTest, CrossEntropyLeavesLogitsThatAreHeld) {
  Tape tape;
  const Tensor held = random({4, 9});
  const auto before = values(held);
  const Var x = tape.input(held);
  const Var loss = cross_entropy(cx, tape, x, ids({0, 1, 2, 3}));
  tape.backward(cx, loss, vec({1}).view({}));
  EXPECT_EQ(values(held), before);
  EXPECT_NE(tape.grad(x).raw(), held.raw());
}

TEST_F(RowsTest, CrossEntropyOfNoCountedRowIsZero) {
  Tape tape;
  const Var x = tape.input(random({2, 5}));
  const Var loss = cross_entropy(cx, tape, x, ids({-100, -100}));
  EXPECT_EQ(values(tape.value(loss)), (std::vector<float>{0.0F}));
  tape.backward(cx, loss, vec({1}).view({}));
  EXPECT_EQ(values(tape.grad(x)), (std::vector<float>(10, 0.0F)));
}

TEST_F(RowsTest, CrossEntropyOfBf16LogitsIsF32) {
  Tape tape;
  const Var x = tape.constant(random({2, 5}, DType::kBf16));
  EXPECT_EQ(tape.value(cross_entropy(cx, tape, x, ids({1, 2}))).dtype(), DType::kF32);
}

TEST_F(RowsTest, CrossEntropyRejectsWhatDoesNotFit) {
  using test::expect_error;
  Tape tape;
  const Var x = tape.input(random({2, 5}));
  expect_error(ErrorKind::kData, "target 5 outside [0, 5)", [&] {
    cross_entropy(cx, tape, x, ids({1, 5}));
  });
  expect_error(ErrorKind::kData, "target -1", [&] { cross_entropy(cx, tape, x, ids({-1, 0})); });
  expect_error(ErrorKind::kShape, "targets i32 [3]", [&] {
    cross_entropy(cx, tape, x, ids({1, 2, 3}));
  });
  expect_error(ErrorKind::kShape, "targets f32 [2]", [&] {
    cross_entropy(cx, tape, x, vec({1, 2}));
  });
  expect_error(ErrorKind::kUsage, "label smoothing 1", [&] {
    cross_entropy(cx, tape, x, ids({1, 2}), {.label_smoothing = 1.0});
  });
}

}  // namespace
}  // namespace gradwire
