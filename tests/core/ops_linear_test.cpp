#include <cstdlib>
#include <cstring>
#include <optional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ops/linear/bf16_unit.h"
#include "core/ops/linear/linear.h"
#include "core/parallel_for.h"
#include "core/simd.h"
#include "tests/support/expect_error.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using Values = std::vector<double>;

struct Problem {
  std::int64_t m, n, k;
  friend void PrintTo(const Problem& p, std::ostream* os) {
    *os << p.m << "x" << p.n << "x" << p.k;
  }
};

// What y, dx, dw and db should be, by loops over doubles.
struct Reference {
  Values y, dx, dw, db;
};

Reference reference(Problem p, const Values& x, const Values& w, const Values& b,
                    const Values& dy) {
  const auto at = [](const Values& v, std::int64_t i) { return v[static_cast<std::size_t>(i)]; };
  Reference r{Values(static_cast<std::size_t>(p.m * p.n)), Values(x.size()), Values(w.size()),
              Values(b.size())};
  for (std::int64_t i = 0; i < p.m; ++i) {
    for (std::int64_t j = 0; j < p.n; ++j) {
      double sum = at(b, j);
      for (std::int64_t l = 0; l < p.k; ++l) {
        sum += at(x, i * p.k + l) * at(w, j * p.k + l);
        r.dx[static_cast<std::size_t>(i * p.k + l)] += at(dy, i * p.n + j) * at(w, j * p.k + l);
        r.dw[static_cast<std::size_t>(j * p.k + l)] += at(dy, i * p.n + j) * at(x, i * p.k + l);
      }
      r.y[static_cast<std::size_t>(i * p.n + j)] = sum;
      r.db[static_cast<std::size_t>(j)] += at(dy, i * p.n + j);
    }
  }
  return r;
}

class LinearTest : public testing::Test {
 protected:
  // Numbers in [-1, 1) that `dtype` holds exactly.
  Tensor random(const Shape& shape, DType dtype, std::uint64_t seed) {
    Tensor t = Tensor::empty(cx, shape, DType::kF32);
    fill_uniform(cx, t, Rng{seed, 0}, -1.0, 1.0);
    return cast(cx, t, dtype);
  }
  void make(Parameter& p, std::string name, const Shape& shape, DType dtype, std::uint64_t seed) {
    p.name = std::move(name);
    p.value = random(shape, dtype, seed);
  }
  void expect_near(const char* what, const Tensor& got, const Values& want, DType precision,
                   std::int64_t terms) {
    ASSERT_TRUE(got) << what;
    const Values found = got.to_host<double>(cx);
    ASSERT_EQ(found.size(), want.size()) << what;
    const double rel = test::tolerance(precision, terms);
    for (std::size_t i = 0; i < want.size(); ++i) {
      ASSERT_TRUE(test::agrees(found[i], want[i], rel))
          << what << "[" << i << "] " << found[i] << " instead of " << want[i];
    }
  }

  Runtime runtime{RuntimeOptions{{}, {.poison_freed = true}}};
  Context& cx = runtime.context();
};

class LinearShapes : public LinearTest,
                     public testing::WithParamInterface<std::tuple<Problem, DType>> {};

TEST_P(LinearShapes, AgreesWithDoubleLoopsAndAddsToGradients) {
  const auto [p, dtype] = GetParam();
  const DType weights = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
  Parameter w, b;
  make(w, "w", {p.n, p.k}, weights, 1);
  make(b, "b", {p.n}, weights, 2);
  const Tensor x = random({p.m, p.k}, dtype, 3), dy = random({p.m, p.n}, dtype, 4);
  // For bf16 x the product sees the weight in bf16, the bias in f32.
  const Values seen = cast(cx, w.value, dtype).to_host<double>(cx);
  Reference want = reference(p, x.to_host<double>(cx), seen, b.value.to_host<double>(cx),
                             dy.to_host<double>(cx));
  for (int pass = 0; pass < 2; ++pass) {  // the second one adds
    Tape tape;
    const Var xv = tape.input(x);
    const Var y = linear(cx, tape, xv, tape.param(w), tape.param(b));
    expect_near("y", tape.value(y), want.y, dtype, p.k);
    tape.backward(cx, y, dy);
    expect_near("dx", tape.grad(xv), want.dx, dtype, p.n);
    expect_near("dw", w.grad, want.dw, weights, p.m);
    expect_near("db", b.grad, want.db, weights, p.m);
    for (double& v : want.dw)
      v *= 2.0;
    for (double& v : want.db)
      v *= 2.0;
  }
}

// 530, 600 and 1030 cross the tile sizes, 1024 takes the paths for aliasing rows.
INSTANTIATE_TEST_SUITE_P(
    All, LinearShapes,
    testing::Combine(testing::Values(Problem{1, 1, 1}, Problem{1, 7, 33}, Problem{7, 33, 1},
                                     Problem{33, 257, 7}, Problem{257, 33, 65}, Problem{530, 17, 5},
                                     Problem{9, 1030, 3}, Problem{5, 3, 1030}, Problem{3, 40, 1024},
                                     Problem{1030, 6, 8}),
                     testing::Values(DType::kF32, DType::kF64, DType::kBf16)));

TEST_F(LinearTest, LeadingDimensionsAreRows) {
  Parameter w;
  make(w, "w", {4, 3}, DType::kF32, 1);
  const Tensor x = random({2, 5, 3}, DType::kF32, 2);
  Tape tape;
  const Tensor y = tape.value(linear(cx, tape, tape.input(x), tape.param(w)));
  EXPECT_EQ(to_string(y.shape()), "[2, 5, 4]");
  const Tensor flat = tape.value(linear(cx, tape, tape.input(x.rows()), tape.param(w)));
  EXPECT_EQ(y.to_host<float>(cx), flat.to_host<float>(cx));
}

TEST_F(LinearTest, WithoutRowsTheGradientIsZero) {
  Parameter w, b;
  make(w, "w", {4, 3}, DType::kF32, 1);
  make(b, "b", {4}, DType::kF32, 1);
  Tape tape;
  const Var y =
      linear(cx, tape, tape.input(random({0, 3}, DType::kF32, 2)), tape.param(w), tape.param(b));
  tape.backward(cx, y, Tensor::empty(cx, {0, 4}, DType::kF32));
  EXPECT_THAT(w.grad.to_host<float>(cx), testing::Each(0.0F));
  EXPECT_THAT(b.grad.to_host<float>(cx), testing::Each(0.0F));
}

TEST_F(LinearTest, NumericGradients) {
  const std::vector<Tensor> inputs{random({3, 4}, DType::kF64, 1), random({5, 4}, DType::kF64, 2),
                                   random({5}, DType::kF64, 3)};
  const test::Build f = [](Context& c, Tape& t, std::span<const Var> v) {
    return linear(c, t, v[0], v[1], v[2]);
  };
  EXPECT_EQ(test::gradient_mismatch(cx, f, inputs), "");
  EXPECT_EQ(test::gradient_mismatch(cx, f, inputs, {.as_parameters = true}), "");
}

TEST_F(LinearTest, TiedWeightsAddBothGradients) {
  const std::vector<Tensor> inputs{random({3, 4}, DType::kF64, 1), random({4, 4}, DType::kF64, 2)};
  const test::Build f = [](Context& c, Tape& t, std::span<const Var> v) {
    return linear(c, t, linear(c, t, v[0], v[1]), v[1]);
  };
  EXPECT_EQ(test::gradient_mismatch(cx, f, inputs), "");
  EXPECT_EQ(test::gradient_mismatch(cx, f, inputs, {.as_parameters = true}), "");
}

// Sums are made in f32, so that the tied gradient is that of two equal weights together.
TEST_F(LinearTest, TiedAndFrozenWeightsForBf16) {
  Parameter tied, lower, upper;
  for (Parameter* p : {&tied, &lower, &upper})
    make(*p, "w", {33, 33}, DType::kF32, 1);
  const Tensor x = random({257, 33}, DType::kBf16, 2), dy = random({257, 33}, DType::kBf16, 3);
  const auto dx = [&](Parameter& first, Parameter& second) {
    Tape tape;
    const Var in = tape.input(x);
    tape.backward(cx, linear(cx, tape, linear(cx, tape, in, tape.param(first)), tape.param(second)),
                  dy);
    return tape.grad(in).to_host<float>(cx);
  };
  const auto both = dx(lower, upper);
  EXPECT_EQ(dx(tied, tied), both);
  Values want = lower.grad.to_host<double>(cx);
  const Values more = upper.grad.to_host<double>(cx);
  for (std::size_t i = 0; i < want.size(); ++i)
    want[i] += more[i];
  expect_near("tied", tied.grad, want, DType::kF32, 2 * 257);
  Parameter frozen;
  make(frozen, "w", {33, 33}, DType::kF32, 1);
  frozen.trainable = false;
  EXPECT_EQ(dx(frozen, upper), both);
  EXPECT_FALSE(frozen.grad);
}

// GRADWIRE_BF16 while this lives.
class Bf16Setting {
 public:
  explicit Bf16Setting(const char* value) {
    if (const char* set = std::getenv(kName)) before_ = set;
    ::setenv(kName, value, 1);
  }
  ~Bf16Setting() {
    if (before_) {
      ::setenv(kName, before_->c_str(), 1);
    } else {
      ::unsetenv(kName);
    }
  }
  Bf16Setting(const Bf16Setting&) = delete;
  Bf16Setting& operator=(const Bf16Setting&) = delete;

 private:
  static constexpr const char* kName = "GRADWIRE_BF16";
  std::optional<std::string> before_;
};

bool uses_unit(const char* setting) {
  const Bf16Setting set(setting);
  Runtime own;
  return cpu::use_bf16_unit(own.context());
}

// The run of these tests with oneDNN's bf16 kernels relies on it.
TEST_F(LinearTest, EnvironmentChoosesHowBf16IsMultiplied) {
  __builtin_cpu_init();
  EXPECT_EQ(uses_unit("onednn"), __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ(uses_unit("avx512"),
            __builtin_cpu_supports("avx512bf16") != 0 && detect_isa() == Isa::kV4);
  EXPECT_FALSE(uses_unit("widen"));
  test::expect_error(ErrorKind::kConfig, "GRADWIRE_BF16 is \"fast\"", [] { uses_unit("fast"); });
}

TEST_F(LinearTest, FrozenWeightsGetNoGradientAndKeepNoInput) {
  Parameter w, b;
  make(w, "w", {64, 1024}, DType::kF32, 1);
  make(b, "b", {64}, DType::kF32, 2);
  w.trainable = b.trainable = false;
  Tape tape;
  const Var x = tape.input(random({8, 4}, DType::kF32, 3));
  Parameter up;
  make(up, "up", {1024, 4}, DType::kF32, 4);
  const Var h = linear(cx, tape, x, tape.param(up));
  const Var y = linear(cx, tape, h, tape.param(w), tape.param(b));
  const std::size_t live = runtime.allocator().stats().live_bytes;
  tape.release(h);
  EXPECT_EQ(runtime.allocator().stats().live_bytes, live - 8 * 1024 * sizeof(float));
  tape.backward(cx, y, random({8, 64}, DType::kF32, 5));
  EXPECT_FALSE(w.grad);
  EXPECT_FALSE(b.grad);
  EXPECT_TRUE(up.grad);
  EXPECT_TRUE(tape.grad(x));
}

TEST_F(LinearTest, RoundedWeightFollowsTheVersion) {
  Parameter w;
  make(w, "w", {3, 2}, DType::kF32, 1);
  const Tensor x = random({1, 2}, DType::kBf16, 2);
  const auto forward = [&] {
    Tape tape(false);
    return tape.value(linear(cx, tape, tape.constant(x), tape.param(w))).to_host<float>(cx);
  };
  const std::vector<float> first = forward();
  fill(cx, w.value, 0.0);
  EXPECT_EQ(forward(), first) << "the copy of this version is kept";
  ++w.version;
  EXPECT_THAT(forward(), testing::Each(0.0F));
}

std::vector<std::byte> bytes_of(const Tensor& t) {
  std::vector<std::byte> out(t.bytes());
  std::memcpy(out.data(), t.raw(), t.bytes());
  return out;
}

TEST_F(LinearTest, BitsDoNotDependOnTheNumberOfThreads) {
  const int before = thread_count();
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF64}) {
    const DType weights = dtype == DType::kF64 ? DType::kF64 : DType::kF32;
    for (const Problem p : {Problem{300, 200, 100}, Problem{3, 5, 700}, Problem{1100, 40, 24}}) {
      std::vector<std::vector<std::byte>> first;
      for (const int threads : {1, 2, 3}) {
        set_thread_count(threads);
        Parameter w, b;
        make(w, "w", {p.n, p.k}, weights, 1);
        make(b, "b", {p.n}, weights, 2);
        Tape tape;
        const Var x = tape.input(random({p.m, p.k}, dtype, 3));
        const Var y = linear(cx, tape, x, tape.param(w), tape.param(b));
        std::vector<std::vector<std::byte>> now{bytes_of(tape.value(y))};
        tape.backward(cx, y, random({p.m, p.n}, dtype, 4));
        for (const Tensor& t : {tape.grad(x), w.grad, b.grad})
          now.push_back(bytes_of(t));
        if (threads == 1) first = now;
        EXPECT_EQ(now, first) << name_of(dtype) << " m " << p.m << ", " << threads << " threads";
      }
    }
  }
  set_thread_count(before);
}

TEST_F(LinearTest, SteadyStateTakesNoMemoryFromTheSystem) {
  Parameter w;
  make(w, "w", {96, 64}, DType::kF32, 1);
  const Tensor x = random({200, 64}, DType::kBf16, 2), dy = random({200, 96}, DType::kBf16, 3);
  const auto step = [&] {
    Tape tape;
    tape.backward(cx, linear(cx, tape, tape.input(x), tape.param(w)), dy);
    ++w.version;
  };
  step();
  step();
  const std::int64_t before = runtime.allocator().stats().system_allocations;
  step();
  EXPECT_EQ(runtime.allocator().stats().system_allocations, before);
}

std::string message(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::kShape);
    return e.what();
  }
  return "no error";
}

TEST_F(LinearTest, ShapeErrorsSayWhatDoesNotFit) {
  Tape tape;
  const auto var = [&](const Shape& s, DType t) { return tape.constant(Tensor::zeros(cx, s, t)); };
  const Var x = var({4, 8}, DType::kF32), w = var({16, 8}, DType::kF32);
  const auto run = [&](Var a, Var b, Var c = {}) {
    return message([&] { linear(cx, tape, a, b, c); });
  };
  EXPECT_EQ(run(x, var({16, 2}, DType::kF32)),
            "linear: inner dimensions differ: [4, 8] x [16, 2] transposed");
  EXPECT_EQ(run(x, var({8}, DType::kF32)),
            "linear: inner dimensions differ: [4, 8] x [8] transposed");
  EXPECT_EQ(run(x, var({0, 8}, DType::kF32)),
            "linear: inner dimensions differ: [4, 8] x [0, 8] transposed");
  EXPECT_EQ(run(x, var({16, 8}, DType::kF64)), "linear: x is f32, the weight f64");
  EXPECT_EQ(run(var({4, 8}, DType::kI32), w), "linear: x is i32, the weight f32");
  EXPECT_EQ(run(x, w, var({8}, DType::kF32)), "linear: a bias of [8] for a weight of [16, 8]");
  EXPECT_EQ(run(x, w, var({16}, DType::kBf16)),
            "linear: a bias of bf16 for x of f32, which takes f32");
}

}  // namespace
}  // namespace gradwire
