// Embedding and dropout.
#include <cmath>

#include "core/ops/dropout/dropout.h"
#include "core/ops/embedding/embedding.h"
#include "tests/support/op_fixture.h"

namespace gradwire {
namespace {

class LookupTest : public test::OpTest {};

TEST_F(LookupTest, EmbeddingGivesTheTypeAskedForAndAddsUpRepeatedRows) {
  Parameter table;
  table.value = Tensor::from(cx, {3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6});
  for (int micro = 1; micro <= 2; ++micro) {
    Tape tape;
    const Var y = embedding(cx, tape, tape.param(table), ids({2, 0, 2}), DType::kBf16);
    EXPECT_EQ(tape.value(y).dtype(), DType::kBf16);
    EXPECT_EQ(values(tape.value(y)), (std::vector<float>{5, 6, 1, 2, 5, 6}));
    tape.backward(
        cx, y,
        cast(cx, Tensor::from(cx, {3, 2}, std::vector<float>{1, 2, 3, 4, 5, 6}), DType::kBf16));
    const float m = static_cast<float>(micro);  // the second micro-batch adds the same again
    EXPECT_EQ(values(table.grad), (std::vector<float>{3 * m, 4 * m, 0, 0, 6 * m, 8 * m}));
  }
}

TEST_F(LookupTest, EmbeddingRejectsWhatDoesNotFit) {
  using test::expect_error;
  Tape tape;
  const Var table = tape.input(random({3, 2}));
  expect_error(ErrorKind::kData, "embedding: id 3 outside [0, 3)", [&] {
    embedding(cx, tape, table, ids({0, 3}));
  });
  expect_error(ErrorKind::kData, "id -1", [&] { embedding(cx, tape, table, ids({-1})); });
  expect_error(ErrorKind::kShape, "ids f32", [&] { embedding(cx, tape, table, vec({0, 1})); });
  expect_error(ErrorKind::kShape, "giving i32",
               [&] { embedding(cx, tape, table, ids({0}), DType::kI32); });
}

TEST_F(LookupTest, DropoutPassesThroughWhereItHasNothingToDo) {
  Tape tape, inference(false);
  const Var x = tape.input(random({8})), z = inference.input(random({8}));
  const std::uint64_t before = cx.rng.offset;
  EXPECT_EQ(dropout(cx, tape, x, 0.0).id, x.id);
  EXPECT_EQ(dropout(cx, inference, z, 0.5).id, z.id);
  EXPECT_EQ(cx.rng.offset, before);
  test::expect_error(ErrorKind::kUsage, "probability 1 ", [&] { dropout(cx, tape, x, 1.0); });
}

TEST_F(LookupTest, DropoutTakesFreshNumbersAndKeepsTheShareAskedFor) {
  constexpr std::int64_t kNumbers = 40001;
  constexpr double kP = 0.3;
  Tape tape;
  const Var x = tape.input(Tensor::zeros(cx, {kNumbers}, DType::kF32));
  fill(cx, tape.value(x), 1.0);
  const auto first = values(tape.value(dropout(cx, tape, x, kP)));
  EXPECT_EQ(cx.rng.offset, 40004U);
  const auto second = values(tape.value(dropout(cx, tape, x, kP)));
  EXPECT_NE(first, second);
  double dropped = 0.0;
  for (const float v : first)
    dropped += v == 0.0F ? 1.0 : 0.0;
  const double deviation = std::sqrt(kP * (1 - kP) * kNumbers);
  EXPECT_NEAR(dropped, kP * kNumbers, 5.0 * deviation);
}

}  // namespace
}  // namespace gradwire
