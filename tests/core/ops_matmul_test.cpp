#include <functional>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ops/linear/linear.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

struct Case {
  std::int64_t batch, m, n, k;
  bool shared;
  friend void PrintTo(const Case& c, std::ostream* os) {
    *os << c.batch << " of " << c.m << "x" << c.n << "x" << c.k << (c.shared ? ", b shared" : "");
  }
};

class MatmulTest : public testing::Test {
 protected:
  Tensor random(const Shape& shape, DType dtype, std::uint64_t seed) {
    Tensor t = Tensor::empty(cx, shape, DType::kF32);
    fill_uniform(cx, t, Rng{seed, 0}, -1.0, 1.0);
    return cast(cx, t, dtype);
  }
  Runtime runtime{RuntimeOptions{{}, {.poison_freed = true}}};
  Context& cx = runtime.context();
};

Shape stack(std::int64_t batch, std::int64_t rows, std::int64_t cols, bool transposed) {
  return transposed ? Shape{batch, cols, rows} : Shape{batch, rows, cols};
}

// Element (i, j) of matrix `at` of a stack that may be stored transposed.
struct View {
  std::vector<double> v;
  std::int64_t rows, cols;
  bool transposed, shared;
  double operator()(std::int64_t at, std::int64_t i, std::int64_t j) const {
    const std::int64_t base = shared ? 0 : at * rows * cols;
    return v[static_cast<std::size_t>(base + (transposed ? j * rows + i : i * cols + j))];
  }
};

class MatmulCases : public MatmulTest,
                    public testing::WithParamInterface<std::tuple<Case, DType, int>> {};

TEST_P(MatmulCases, AgreesWithDoubleLoops) {
  const auto [p, dtype, flags] = GetParam();
  const MatmulOptions o{(flags & 1) != 0, (flags & 2) != 0};
  const Tensor a = random(stack(p.batch, p.m, p.k, o.transpose_a), dtype, 1);
  const Shape b_shape = stack(p.batch, p.k, p.n, o.transpose_b);
  const Tensor b = random(p.shared ? Shape{b_shape[1], b_shape[2]} : b_shape, dtype, 2);
  Tape tape;
  const Tensor y = tape.value(matmul(cx, tape, tape.input(a), tape.input(b), o));
  ASSERT_EQ(y.shape(), (Shape{p.batch, p.m, p.n}));
  const View av{a.to_host<double>(cx), p.m, p.k, o.transpose_a, false};
  const View bv{b.to_host<double>(cx), p.k, p.n, o.transpose_b, p.shared};
  const View yv{y.to_host<double>(cx), p.m, p.n, false, false};
  const double rel = test::tolerance(dtype, p.k);
  for (std::int64_t at = 0; at < p.batch; ++at) {
    for (std::int64_t i = 0; i < p.m; ++i) {
      for (std::int64_t j = 0; j < p.n; ++j) {
        double want = 0.0;
        for (std::int64_t l = 0; l < p.k; ++l)
          want += av(at, i, l) * bv(at, l, j);
        ASSERT_TRUE(test::agrees(yv(at, i, j), want, rel)) << at << " " << i << " " << j;
      }
    }
  }
}

// The gradients in f32 and bf16 against those in f64, which the numeric check below vouches for.
TEST_P(MatmulCases, GradientsAgreeWithThoseInDouble) {
  const auto [p, dtype, flags] = GetParam();
  const MatmulOptions o{(flags & 1) != 0, (flags & 2) != 0};
  const Shape b_shape = stack(p.batch, p.k, p.n, o.transpose_b);
  const std::vector<Tensor> inputs{
      random(stack(p.batch, p.m, p.k, o.transpose_a), dtype, 1),
      random(p.shared ? Shape{b_shape[1], b_shape[2]} : b_shape, dtype, 2)};
  const Tensor dy = random({p.batch, p.m, p.n}, dtype, 3);
  const auto gradients = [&](DType in) {
    Tape tape;
    const Var a = tape.input(cast(cx, inputs[0], in)), b = tape.input(cast(cx, inputs[1], in));
    tape.backward(cx, matmul(cx, tape, a, b, o), cast(cx, dy, in));
    return std::pair{tape.grad(a).to_host<double>(cx), tape.grad(b).to_host<double>(cx)};
  };
  const auto got = gradients(dtype), want = gradients(DType::kF64);
  const auto compare = [&](const std::vector<double>& x, const std::vector<double>& y,
                           std::int64_t terms) {
    ASSERT_EQ(x.size(), y.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_TRUE(test::agrees(x[i], y[i], test::tolerance(dtype, terms))) << x[i] << " " << y[i];
    }
  };
  compare(got.first, want.first, p.n);
  compare(got.second, want.second, p.m * (p.shared ? p.batch : 1));
}

INSTANTIATE_TEST_SUITE_P(
    All, MatmulCases,
    testing::Combine(testing::Values(Case{1, 1, 1, 1, false}, Case{3, 7, 33, 5, false},
                                     Case{3, 7, 33, 5, true}, Case{2, 257, 9, 33, true},
                                     Case{2, 5, 530, 3, false}),
                     testing::Values(DType::kF32, DType::kF64, DType::kBf16),
                     testing::Values(0, 1, 2, 3)));

TEST_F(MatmulTest, NumericGradients) {
  for (const bool shared : {false, true}) {
    for (int flags = 0; flags < 4; ++flags) {
      const MatmulOptions o{(flags & 1) != 0, (flags & 2) != 0};
      const Shape b_shape = stack(2, 4, 5, o.transpose_b);
      const std::vector<Tensor> inputs{
          random(stack(2, 3, 4, o.transpose_a), DType::kF64, 1),
          random(shared ? Shape{b_shape[1], b_shape[2]} : b_shape, DType::kF64, 2)};
      const test::Build f = [&](Context& c, Tape& t, std::span<const Var> v) {
        return matmul(c, t, v[0], v[1], o);
      };
      EXPECT_EQ(test::gradient_mismatch(cx, f, inputs), "") << flags << " shared " << shared;
    }
  }
}

TEST_F(MatmulTest, ManyLeadingDimensionsAndNoInnerOnes) {
  Tape tape;
  const Var a = tape.input(random({2, 3, 4, 5}, DType::kF32, 1));
  const Var b = tape.input(random({2, 3, 5, 6}, DType::kF32, 2));
  EXPECT_EQ(to_string(tape.value(matmul(cx, tape, a, b)).shape()), "[2, 3, 4, 6]");
  const Var none = tape.input(random({4, 0}, DType::kF32, 1));
  const Var none_b = tape.input(random({0, 3}, DType::kF32, 1));
  EXPECT_EQ(tape.value(matmul(cx, tape, none, none_b)).to_host<float>(cx),
            std::vector<float>(12, 0.0F));
}

TEST_F(MatmulTest, ShapeErrorsSayWhatDoesNotFit) {
  Tape tape;
  const auto message = [&](const Shape& a, const Shape& b, MatmulOptions o = {},
                           DType b_type = DType::kF32) -> std::string {
    const Var av = tape.constant(Tensor::zeros(cx, a, DType::kF32));
    const Var bv = tape.constant(Tensor::zeros(cx, b, b_type));
    try {
      matmul(cx, tape, av, bv, o);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kShape);
      return e.what();
    }
    return "no error";
  };
  EXPECT_EQ(message({4, 8}, {16, 2}), "matmul: inner dimensions differ: [4, 8] x [16, 2]");
  EXPECT_EQ(message({4, 8}, {4, 2}, {false, true}),
            "matmul: inner dimensions differ: [4, 8] x [4, 2] transposed");
  EXPECT_EQ(message({2, 4, 8}, {3, 8, 2}),
            "matmul: leading dimensions differ: [2, 4, 8] x [3, 8, 2]");
  EXPECT_EQ(message({8}, {8, 2}), "matmul: operands have two dimensions or more: [8] x [8, 2]");
  EXPECT_EQ(message({4, 8}, {8, 2}, {}, DType::kBf16), "matmul: a is f32, b bf16");
}

}  // namespace
}  // namespace gradwire
