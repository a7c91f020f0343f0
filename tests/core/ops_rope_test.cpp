#include <cmath>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ops/rope/rope.h"
#include "core/parallel_for.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

class RopeTest : public testing::Test {
 protected:
  Tensor random(const Shape& shape, DType dtype, std::uint64_t seed) {
    Tensor t = Tensor::empty(cx, shape, DType::kF32);
    fill_uniform(cx, t, Rng{seed, 0}, -1.0, 1.0);
    return cast(cx, t, dtype);
  }
  Runtime runtime;
  Context& cx = runtime.context();
};

class RopeTypes : public RopeTest, public testing::WithParamInterface<DType> {};

TEST_P(RopeTypes, AgreesWithTheDefinition) {
  const std::int64_t time = 300, heads = 3, width = 10;  // beyond the first table of positions
  const RopeOptions o{.heads = heads, .theta = 500.0, .start = 7};
  const Tensor x = random({2, time, heads * width}, GetParam(), 1);
  Tape tape;
  const std::vector<double> y = tape.value(rope(cx, tape, tape.input(x), o)).to_host<double>(cx);
  const std::vector<double> v = x.to_host<double>(cx);
  for (std::int64_t row = 0; row < 2 * time; ++row) {
    for (std::int64_t h = 0; h < heads; ++h) {
      for (std::int64_t j = 0; j < width / 2; ++j) {
        const double angle = static_cast<double>(7 + row % time) *
                             std::pow(500.0, -2.0 * static_cast<double>(j) / width);
        const auto low = static_cast<std::size_t>((row * heads + h) * width + j);
        const auto high = low + width / 2;
        const double want_low = v[low] * std::cos(angle) - v[high] * std::sin(angle);
        const double want_high = v[high] * std::cos(angle) + v[low] * std::sin(angle);
        const double rel = test::tolerance(GetParam());
        ASSERT_TRUE(test::agrees(y[low], want_low, rel)) << row << " " << h << " " << j;
        ASSERT_TRUE(test::agrees(y[high], want_high, rel)) << row << " " << h << " " << j;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, RopeTypes, testing::Values(DType::kF32, DType::kF64, DType::kBf16));

TEST_F(RopeTest, NumericGradients) {
  const test::Build f = [](Context& c, Tape& t, std::span<const Var> v) {
    return rope(c, t, v[0], {.heads = 2, .theta = 100.0, .start = 3});
  };
  EXPECT_EQ(test::gradient_mismatch(cx, f, {random({2, 3, 8}, DType::kF64, 1)}), "");
}

// Decoding turns one position at a time.
TEST_F(RopeTest, StartContinuesAnEarlierCall) {
  const Tensor x = random({1, 5, 12}, DType::kF32, 1);
  Tape tape(false);
  const Tensor whole = tape.value(rope(cx, tape, tape.constant(x), {.heads = 2}));
  for (std::int64_t t = 0; t < 5; ++t) {
    const Tensor row = x.view({5, 12}).slice(t, t + 1).view({1, 1, 12});
    const Var y = rope(cx, tape, tape.constant(row), {.heads = 2, .start = t});
    EXPECT_EQ(tape.value(y).to_host<float>(cx),
              whole.view({5, 12}).slice(t, t + 1).to_host<float>(cx));
  }
}

TEST_F(RopeTest, BitsDoNotDependOnTheNumberOfThreads) {
  const int before = thread_count();
  const Tensor x = random({3, 101, 16}, DType::kF32, 1);
  std::vector<float> first;
  for (const int threads : {1, 2, 3}) {
    set_thread_count(threads);
    Tape tape(false);
    const Var y = rope(cx, tape, tape.constant(x), {.heads = 2});
    if (threads == 1) first = tape.value(y).to_host<float>(cx);
    EXPECT_EQ(tape.value(y).to_host<float>(cx), first);
  }
  set_thread_count(before);
}

TEST_F(RopeTest, ErrorsSayWhatDoesNotFit) {
  const auto message = [&](const Shape& shape, RopeOptions o) -> std::string {
    Tape tape;
    try {
      rope(cx, tape, tape.constant(Tensor::zeros(cx, shape, DType::kF32)), o);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kShape);
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message({2, 3, 9}, {.heads = 3}),
            "rope: [2, 3, 9] is not [B, T, 3 heads of an even width]");
  EXPECT_EQ(message({3, 8}, {.heads = 2}), "rope: [3, 8] is not [B, T, 2 heads of an even width]");
  EXPECT_EQ(message({2, 3, 8}, {.heads = 2, .start = -1}), "rope: starts at position -1");
}

}  // namespace
}  // namespace gradwire
