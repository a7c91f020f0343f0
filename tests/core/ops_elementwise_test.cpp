#include "core/ops/elementwise/elementwise.h"
#include "tests/support/op_fixture.h"

namespace gradwire {
namespace {

class ElementwiseTest : public test::OpTest {};

TEST_F(ElementwiseTest, AddHandsItsGradientOnWithoutACopy) {
  Tape tape;
  const Var a = tape.input(vec({1, 2})), b = tape.input(vec({3, 4}));
  const Var y = add(cx, tape, a, b);
  const Tensor seed = vec({5, 6});
  tape.backward(cx, y, seed);
  EXPECT_EQ(tape.grad(a).raw(), seed.raw());
  EXPECT_EQ(tape.grad(b).raw(), seed.raw());
}

// The gradient that both sides share must not be added to in place.
TEST_F(ElementwiseTest, SharedGradientsStayApart) {
  Tape tape;
  const Var a = tape.input(vec({1, 2})), b = tape.input(vec({3, 4}));
  const Var twice = add(cx, tape, a, a);
  const Var y = add(cx, tape, add(cx, tape, twice, b), scaled(cx, tape, b, 2.0));
  tape.backward(cx, y, vec({1, 10}));
  EXPECT_EQ(values(tape.grad(a)), (std::vector<float>{2, 20}));
  EXPECT_EQ(values(tape.grad(b)), (std::vector<float>{3, 30}));
}

TEST_F(ElementwiseTest, FrozenOperandsKeepNothingForBackward) {
  Parameter frozen;
  frozen.value = random({1000});
  frozen.trainable = false;
  Tape tape;
  const std::size_t before = runtime.allocator().stats().live_bytes;
  const Var x = tape.constant(random({1000}));
  tape.release(x);
  const Var c = tape.constant(random({1000}));
  const Var y = mul(cx, tape, c, tape.param(frozen));
  EXPECT_FALSE(tape.needs_grad(y));
  tape.release(c);
  tape.release(y);
  EXPECT_EQ(runtime.allocator().stats().live_bytes, before);
}

TEST_F(ElementwiseTest, EmptyTensorsPassThrough) {
  Tape tape;
  const Var x = tape.input(Tensor::zeros(cx, {0, 4}, DType::kF32));
  const Var w = tape.input(random({4}));
  const Var y = mul(cx, tape, unary(cx, tape, Unary::kSilu, x), w);
  tape.backward(cx, y, Tensor::zeros(cx, {0, 4}, DType::kF32));
  EXPECT_EQ(values(tape.grad(w)), (std::vector<float>(4, 0.0F)));
}

TEST_F(ElementwiseTest, ShapesAndTypesThatDoNotFitAreErrors) {
  using test::expect_error;
  Tape tape;
  const Var a = tape.input(random({2, 3})), b = tape.input(random({2}));
  const Var half = tape.input(random({2, 3}, DType::kBf16));
  const Var whole = tape.constant(ids({1, 2}));
  expect_error(ErrorKind::kShape, "add: shapes do not broadcast: [2, 3] and [2]",
               [&] { add(cx, tape, a, b); });
  expect_error(ErrorKind::kShape, "mul: wants one float type, got f32 and bf16",
               [&] { mul(cx, tape, a, half); });
  expect_error(ErrorKind::kShape, "got i32 and i32", [&] { add(cx, tape, whole, whole); });
  expect_error(ErrorKind::kShape, "gated: gate [2, 3] and up [2]",
               [&] { gated(cx, tape, Unary::kSilu, a, b); });
  expect_error(ErrorKind::kShape, "not a float type",
               [&] { unary(cx, tape, Unary::kRelu, whole); });
}

}  // namespace
}  // namespace gradwire
