#include <limits>

#include "core/ops/reduce/reduce.h"
#include "tests/support/op_fixture.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

class ReduceTest : public test::OpTest {};

TEST_F(ReduceTest, SumOfSquaresTakesAnyFloatTypeInDouble) {
  const std::vector<Tensor> tensors{random({70000}), random({33}, DType::kF64, 2),
                                    random({40000}, DType::kBf16, 3)};
  double want = 0.0;
  for (const Tensor& t : tensors) {
    for (const double v : t.to_host<double>(cx))
      want += v * v;
  }
  EXPECT_TRUE(
      test::agrees(sum_of_squares(cx, tensors), want, test::tolerance(DType::kF64, 110033), want));
  // Above the largest float, which a sum in f32 would lose.
  const std::vector<Tensor> large{vec({1e30F, 1e30F})};
  EXPECT_TRUE(test::agrees(sum_of_squares(cx, large), 2e60, test::tolerance(DType::kF32)));
  EXPECT_EQ(sum_of_squares(cx, {}), 0.0);
}

TEST_F(ReduceTest, AllFiniteFindsASingleBadElementAnywhere) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const DType type : {DType::kF32, DType::kF64, DType::kBf16}) {
    for (const std::int64_t place : {0, 31, 77777, 99999}) {
      for (const float bad : {infinity, -infinity, nan}) {
        const Tensor t = random({100000}, type);
        EXPECT_TRUE(all_finite(cx, t));
        fill(cx, t.slice(place, place + 1), bad);
        EXPECT_FALSE(all_finite(cx, t)) << name_of(type) << " at " << place;
      }
    }
  }
  const Tensor extremes = vec({std::numeric_limits<float>::max(), 1e-45F, -0.0F});
  EXPECT_TRUE(all_finite(cx, extremes));
}

TEST_F(ReduceTest, SumsOfBf16AreF32AndKeepSmallTerms) {
  Tape tape;
  const Var x = tape.constant(Tensor::zeros(cx, {4096}, DType::kBf16));
  fill(cx, tape.value(x), 1.0);
  const Tensor& y = tape.value(sum(cx, tape, x));
  EXPECT_EQ(y.dtype(), DType::kF32);
  EXPECT_EQ(values(y), (std::vector<float>{4096.0F}));  // bf16 would stop growing at 256
  EXPECT_EQ(tape.value(sum_dim(cx, tape, x, 0)).dtype(), DType::kBf16);
}

TEST_F(ReduceTest, MisuseIsAnError) {
  Tape tape;
  const Var empty = tape.input(Tensor::zeros(cx, {0}, DType::kF32));
  const Var x = tape.input(random({2, 3}));
  test::expect_error(ErrorKind::kShape, "mean: no elements", [&] { mean(cx, tape, empty); });
  test::expect_error(ErrorKind::kShape, "sum_dim: no dimension 2 in [2, 3]",
                     [&] { sum_dim(cx, tape, x, 2); });
  EXPECT_EQ(values(tape.value(sum(cx, tape, empty))), (std::vector<float>{0.0F}));
}

}  // namespace
}  // namespace gradwire
