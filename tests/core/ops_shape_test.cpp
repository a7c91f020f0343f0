#include "core/ops/shape/shape.h"
#include "tests/support/op_fixture.h"

namespace gradwire {
namespace {

class ShapeOpsTest : public test::OpTest {};

TEST_F(ShapeOpsTest, ReshapeAndOutermostSliceAreViews) {
  Tape tape;
  const Var x = tape.input(random({4, 6}));
  const std::byte* data = static_cast<const std::byte*>(tape.value(x).raw());
  EXPECT_EQ(tape.value(reshape(cx, tape, x, {2, 12})).raw(), data);
  EXPECT_EQ(tape.value(slice(cx, tape, x, 0, 1, 3)).raw(), data + 6 * sizeof(float));
  EXPECT_EQ(transpose(cx, tape, x, 1, -1).id, x.id);
  EXPECT_EQ(cast(cx, tape, x, DType::kF32).id, x.id);
}

TEST_F(ShapeOpsTest, AnyElementTypeMoves) {
  Tape tape;
  const Var x =
      tape.constant(Tensor::from(cx, {2, 3}, std::vector<std::int64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(tape.value(transpose(cx, tape, x, 0, 1)).to_host<std::int64_t>(cx),
            (std::vector<std::int64_t>{1, 4, 2, 5, 3, 6}));
}

TEST_F(ShapeOpsTest, CastBackRoundsTheGradientToTheInputsType) {
  Tape tape;
  const Var x = tape.input(random({5}, DType::kBf16));
  tape.backward(cx, cast(cx, tape, x, DType::kF32), random({5}));
  EXPECT_EQ(tape.grad(x).dtype(), DType::kBf16);
}

TEST_F(ShapeOpsTest, MisuseIsAnError) {
  using test::expect_error;
  Tape tape;
  const Var x = tape.input(random({2, 3})), y = tape.input(random({2, 4}));
  const Var half = tape.input(random({2, 3}, DType::kBf16));
  const Var pair[] = {x, y}, mixed[] = {x, half};
  expect_error(ErrorKind::kShape, "[2, 3] -> [7]", [&] { reshape(cx, tape, x, {7}); });
  expect_error(ErrorKind::kShape, "transpose: no dimension 2 in [2, 3]",
               [&] { transpose(cx, tape, x, 0, 2); });
  expect_error(ErrorKind::kShape, "slice: [1, 4) of dimension 1 of [2, 3]",
               [&] { slice(cx, tape, x, 1, 1, 4); });
  expect_error(ErrorKind::kShape, "concat along 0: f32 [2, 4] does not fit f32 [2, 3]",
               [&] { concat(cx, tape, pair, 0); });
  expect_error(ErrorKind::kShape, "bf16 [2, 3]", [&] { concat(cx, tape, mixed, 0); });
  expect_error(ErrorKind::kShape, "nothing to join", [&] { concat(cx, tape, {}, 0); });
}

}  // namespace
}  // namespace gradwire
