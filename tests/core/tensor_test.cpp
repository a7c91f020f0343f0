#include "core/tensor.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/parallel_for.h"
#include "tests/support/expect_error.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

class TensorTest : public testing::Test {
 protected:
  Tensor counted(const Shape& shape) {
    std::vector<float> v(static_cast<std::size_t>(shape.numel()));
    for (std::size_t i = 0; i < v.size(); ++i)
      v[i] = static_cast<float>(i);
    return Tensor::from(cx, shape, v);
  }
  Runtime runtime;
  Context& cx = runtime.context();
};

TEST(Shape, DimensionsCountFromBothEnds) {
  const Shape s{2, 3, 4};
  EXPECT_EQ(s.rank(), 3);
  EXPECT_EQ(s.numel(), 24);
  EXPECT_EQ(s[-1], 4);
  EXPECT_EQ(s[0], 2);
  EXPECT_EQ(s.with(-2, 7), (Shape{2, 7, 4}));
  EXPECT_EQ(to_string(s), "[2, 3, 4]");
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_NE(s, (Shape{2, 3}));
}

TEST(Shape, RejectsNegativeAndTooManyDimensions) {
  EXPECT_THROW((Shape{2, -1}), Error);
  EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1}), Error);
}

TEST_F(TensorTest, HoldsWhatItWasMadeFrom) {
  const Tensor t = Tensor::from(cx, {2, 2}, std::vector<std::int32_t>{4, -3, 2, 1});
  EXPECT_EQ(t.dtype(), DType::kI32);
  EXPECT_EQ(t.bytes(), 16U);
  EXPECT_EQ(t.to_host<std::int32_t>(cx), (std::vector<std::int32_t>{4, -3, 2, 1}));
  EXPECT_EQ(t.host<std::int32_t>()[1], -3);
  EXPECT_FALSE(Tensor{});
  EXPECT_EQ(Tensor::zeros(cx, {0, 3}, DType::kF32).numel(), 0);
}

TEST_F(TensorTest, ViewsShareStorageAndKnowTheirPlace) {
  const Tensor t = counted({4, 3});
  EXPECT_TRUE(t.unique());
  const Tensor part = t.slice(1, 3);
  EXPECT_FALSE(t.unique());
  EXPECT_EQ(part.shape(), (Shape{2, 3}));
  EXPECT_EQ(part.to_host<float>(cx), (std::vector<float>{3, 4, 5, 6, 7, 8}));
  fill(cx, part.slice(1, 2), -1.0);
  EXPECT_EQ(t.host<float>()[6], -1.0F);
  EXPECT_EQ(t.host<float>()[9], 9.0F);
  EXPECT_EQ(counted({2, 3, 4}).rows().shape(), (Shape{6, 4}));
  EXPECT_EQ(t.view({2, 6}).slice(1, 2).flat().dim(0), 6);
}

TEST_F(TensorTest, MisuseIsAnErrorThatSaysWhat) {
  using test::expect_error;
  const Tensor t = counted({4, 3});
  expect_error(ErrorKind::kShape, "[4, 3] -> [5]", [&] { t.view({5}); });
  expect_error(ErrorKind::kShape, "[2, 5) of [4, 3]", [&] { t.slice(2, 5); });
  expect_error(ErrorKind::kShape, "asked for f64", [&] { t.data<double>(); });
  expect_error(ErrorKind::kShape, "got 4 bytes",
               [&] { Tensor::from(cx, {3}, std::vector<float>{1}); });
  expect_error(ErrorKind::kShape, "copy: [4, 3] <- [5]", [&] { copy(cx, t, counted({5})); });
  expect_error(ErrorKind::kShape, "add_scaled: [4, 3] <- [5]",
               [&] { add_scaled(cx, t, counted({5})); });
  expect_error(ErrorKind::kShape, "not a float type: i32",
               [&] { scale(cx, Tensor::zeros(cx, {2}, DType::kI32), 2.0); });
  expect_error(ErrorKind::kShape, "no last dimension",
               [&] { Tensor::zeros(cx, {}, DType::kF32).rows(); });
}

TEST_F(TensorTest, FloatTypesConvertBothWays) {
  const std::vector<double> x{0.0, -1.5, 3.25, 1e-3, 65504.0};
  for (const DType from : {DType::kF32, DType::kF64, DType::kBf16}) {
    for (const DType to : {DType::kF32, DType::kF64, DType::kBf16}) {
      const Tensor first = cast(cx, Tensor::from(cx, {5}, x), from);
      const auto y = cast(cx, first, to).to_host<double>(cx);
      const DType worst = from == DType::kBf16 || to == DType::kBf16 ? DType::kBf16 : DType::kF32;
      for (std::size_t i = 0; i < x.size(); ++i) {
        EXPECT_TRUE(test::agrees(y[i], x[i], test::epsilon(worst), 0.0))
            << name_of(from) << name_of(to);
      }
    }
  }
}

TEST_F(TensorTest, Bf16RoundsToNearestEvenAndKeepsNan) {
  const float one = 1.0F, step = 0x1p-7F;
  EXPECT_EQ(static_cast<float>(Bf16(one + step / 2)), one);  // tie, to even
  EXPECT_EQ(static_cast<float>(Bf16(one + 1.5F * step)), one + 2 * step);
  EXPECT_EQ(static_cast<float>(Bf16(one + 0.51F * step)), one + step);
  EXPECT_TRUE(std::isnan(static_cast<float>(Bf16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(static_cast<float>(Bf16(std::numeric_limits<float>::max()))));
  EXPECT_EQ(static_cast<float>(Bf16(-0.0F)), 0.0F);
  EXPECT_TRUE(std::signbit(static_cast<float>(Bf16(-0.0F))));
}

TEST_F(TensorTest, AddScaledMixesTypesAndScaleMultiplies) {
  const Tensor sum = counted({3});
  add_scaled(cx, sum, cast(cx, counted({3}), DType::kBf16), 10.0);
  EXPECT_EQ(sum.to_host<float>(cx), (std::vector<float>{0, 11, 22}));
  scale(cx, sum, 0.5);
  EXPECT_EQ(sum.to_host<float>(cx), (std::vector<float>{0, 5.5F, 11}));
}

TEST_F(TensorTest, RandomElementsDependOnPlaceAlone) {
  const int before = thread_count();
  const Tensor a = Tensor::zeros(cx, {100000}, DType::kF32);
  const Tensor b = Tensor::zeros(cx, {100000}, DType::kF32);
  set_thread_count(1);
  fill_normal(cx, a, {.seed = 3}, 2.0);
  set_thread_count(3);
  fill_normal(cx, b, {.seed = 3}, 2.0);
  set_thread_count(before);
  EXPECT_EQ(a.to_host<float>(cx), b.to_host<float>(cx));
  double mean = 0.0, square = 0.0;
  for (const float v : a.host<float>()) {
    mean += v / 1e5;
    square += static_cast<double>(v) * v / 1e5;
  }
  // Five standard errors of the mean and of the variance of 100000 normal numbers.
  EXPECT_NEAR(mean, 0.0, 5.0 * 2.0 / std::sqrt(1e5));
  EXPECT_NEAR(square, 4.0, 5.0 * 4.0 * std::sqrt(2.0 / 1e5));

  // A uniform tensor from a later offset continues the earlier one.
  const Tensor u = Tensor::zeros(cx, {64}, DType::kF32);
  const Tensor tail = Tensor::zeros(cx, {60}, DType::kF32);
  fill_uniform(cx, u, {.seed = 9}, -1.0, 1.0);
  fill_uniform(cx, tail, {.seed = 9, .offset = 4}, -1.0, 1.0);
  EXPECT_EQ(u.slice(4, 64).to_host<float>(cx), tail.to_host<float>(cx));
  for (const float v : u.host<float>())
    EXPECT_TRUE(v >= -1.0F && v < 1.0F);
}

}  // namespace
}  // namespace gradwire
