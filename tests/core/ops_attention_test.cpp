#include <cmath>
#include <cstring>
#include <limits>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ops/attention/attention.h"
#include "core/ops/attention/attention_kernels.h"
#include "core/ops/linear/bf16_unit.h"
#include "core/parallel_for.h"
#include "tests/support/bf16_path.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

struct Case {
  std::int64_t batch, queries, keys, heads, kv_heads, width;
  bool causal;
  std::int64_t start;
  friend void PrintTo(const Case& c, std::ostream* os) {
    *os << "B" << c.batch << " T" << c.queries << " S" << c.keys << " H" << c.heads << "/"
        << c.kv_heads << " D" << c.width << (c.causal ? " causal from " : " from ") << c.start;
  }
};

struct Result {
  std::vector<double> y, dq, dk, dv;
};

// Attention and its gradient by the definition, one score at a time, in double.
class Reference {
 public:
  Reference(const Case& c, const std::vector<double>& q, const std::vector<double>& k,
            const std::vector<double>& v, const std::vector<double>& dy)
      : c_(c), q_(q), k_(k), v_(v), dy_(dy) {
    r_ = {std::vector<double>(q.size()), std::vector<double>(q.size()),
          std::vector<double>(k.size()), std::vector<double>(k.size())};
    for (std::int64_t b = 0; b < c.batch; ++b) {
      for (std::int64_t h = 0; h < c.heads; ++h) {
        for (std::int64_t t = 0; t < c.queries; ++t)
          row(b, h, t);
      }
    }
  }
  const Result& result() const { return r_; }

 private:
  std::size_t at_query(std::int64_t b, std::int64_t h, std::int64_t t) const {
    return static_cast<std::size_t>(((b * c_.queries + t) * c_.heads + h) * c_.width);
  }
  std::size_t at_key(std::int64_t b, std::int64_t h, std::int64_t s) const {
    const std::int64_t kv = h / (c_.heads / c_.kv_heads);
    return static_cast<std::size_t>(((b * c_.keys + s) * c_.kv_heads + kv) * c_.width);
  }
  void row(std::int64_t b, std::int64_t h, std::int64_t t) {
    const auto width = static_cast<std::size_t>(c_.width);
    const std::size_t q = at_query(b, h, t);
    const std::int64_t seen = c_.causal ? std::min(c_.keys, c_.start + t + 1) : c_.keys;
    const double scale = 1.0 / std::sqrt(static_cast<double>(c_.width));
    std::vector<double> p(static_cast<std::size_t>(seen)), dp(p.size());
    double sum = 0.0, dot = 0.0;
    for (std::int64_t s = 0; s < seen; ++s) {
      double score = 0.0;
      for (std::size_t j = 0; j < width; ++j)
        score += q_[q + j] * k_[at_key(b, h, s) + j];
      sum += p[static_cast<std::size_t>(s)] = std::exp(scale * score);
    }
    for (std::int64_t s = 0; s < seen; ++s) {
      const auto i = static_cast<std::size_t>(s);
      p[i] /= sum;
      for (std::size_t j = 0; j < width; ++j) {
        const std::size_t key = at_key(b, h, s) + j;
        r_.y[q + j] += p[i] * v_[key];
        r_.dv[key] += p[i] * dy_[q + j];
        dp[i] += dy_[q + j] * v_[key];
      }
      dot += p[i] * dp[i];
    }
    for (std::int64_t s = 0; s < seen; ++s) {
      const auto i = static_cast<std::size_t>(s);
      const double ds = p[i] * (dp[i] - dot) * scale;
      for (std::size_t j = 0; j < width; ++j) {
        const std::size_t key = at_key(b, h, s) + j;
        r_.dq[q + j] += ds * k_[key];
        r_.dk[key] += ds * q_[q + j];
      }
    }
  }

  Case c_;
  const std::vector<double>&q_, &k_, &v_, &dy_;
  Result r_;
};

AttentionOptions options(const Case& c) {
  return {.heads = c.heads, .kv_heads = c.kv_heads, .causal = c.causal, .query_start = c.start};
}

class AttentionTest : public testing::Test {
 protected:
  Tensor random(const Shape& shape, DType dtype, std::uint64_t seed) {
    Tensor t = Tensor::empty(cx, shape, DType::kF32);
    fill_uniform(cx, t, Rng{seed, 0}, -1.0, 1.0);
    return cast(cx, t, dtype);
  }
  Tensor queries(const Case& c, DType dtype, std::uint64_t seed) {
    return random({c.batch, c.queries, c.heads * c.width}, dtype, seed);
  }
  Tensor keys(const Case& c, DType dtype, std::uint64_t seed) {
    return random({c.batch, c.keys, c.kv_heads * c.width}, dtype, seed);
  }
  // y, dq, dk and dv for fixed random inputs.
  std::vector<Tensor> run(const Case& c, DType dtype) {
    Tape tape;
    const Var q = tape.input(queries(c, dtype, 1)), k = tape.input(keys(c, dtype, 2)),
              v = tape.input(keys(c, dtype, 3));
    const Var y = attention(cx, tape, q, k, v, options(c));
    const Tensor value = tape.value(y);
    tape.backward(cx, y, queries(c, dtype, 4));
    return {value, tape.grad(q), tape.grad(k), tape.grad(v)};
  }
  Runtime runtime{RuntimeOptions{{}, {.poison_freed = true}}};
  Context& cx = runtime.context();
};

class AttentionCases : public AttentionTest,
                       public testing::WithParamInterface<std::tuple<Case, DType>> {};

TEST_P(AttentionCases, AgreesWithTheDefinition) {
  const auto [c, dtype] = GetParam();
  const auto host = [&](const Tensor& t) { return t.to_host<double>(cx); };
  const auto q = host(queries(c, dtype, 1)), k = host(keys(c, dtype, 2)),
             v = host(keys(c, dtype, 3)), dy = host(queries(c, dtype, 4));
  const Reference reference(c, q, k, v, dy);
  const Result& want = reference.result();
  const std::vector<Tensor> got = run(c, dtype);
  const auto compare = [&](const char* what, const Tensor& t, const std::vector<double>& w,
                           std::int64_t terms) {
    const std::vector<double> found = t.to_host<double>(cx);
    ASSERT_EQ(found.size(), w.size());
    for (std::size_t i = 0; i < w.size(); ++i) {
      ASSERT_TRUE(test::agrees(found[i], w[i], test::tolerance(dtype, terms)))
          << what << "[" << i << "] " << found[i] << " instead of " << w[i];
    }
  };
  compare("y", got[0], want.y, c.width);
  compare("dq", got[1], want.dq, c.keys);
  compare("dk", got[2], want.dk, c.queries * c.heads / c.kv_heads);
  compare("dv", got[3], want.dv, c.queries * c.heads / c.kv_heads);
}

// 64 and 256 are the block sizes inside.
INSTANTIATE_TEST_SUITE_P(
    All, AttentionCases,
    testing::Combine(
        testing::Values(Case{1, 1, 1, 1, 1, 1, true, 0}, Case{2, 7, 7, 2, 2, 5, true, 0},
                        Case{2, 33, 33, 4, 2, 8, true, 0}, Case{1, 65, 65, 2, 1, 16, true, 0},
                        Case{1, 257, 257, 1, 1, 8, true, 0}, Case{1, 7, 300, 2, 1, 8, false, 0},
                        Case{2, 1, 300, 4, 2, 8, true, 299}, Case{1, 90, 400, 2, 2, 4, true, 310},
                        Case{1, 70, 20, 1, 1, 4, true, 3}, Case{1, 330, 270, 3, 3, 4, false, 0},
                        Case{1, 70, 300, 2, 1, 80, true, 230}),
        testing::Values(DType::kF32, DType::kF64, DType::kBf16)));

TEST_F(AttentionTest, NumericGradients) {
  for (const Case c : {Case{2, 5, 5, 2, 1, 4, true, 0}, Case{1, 3, 6, 2, 2, 2, false, 0},
                       Case{1, 2, 6, 1, 1, 3, true, 3}}) {
    const test::Build f = [&](Context& x, Tape& t, std::span<const Var> v) {
      return attention(x, t, v[0], v[1], v[2], options(c));
    };
    EXPECT_EQ(
        test::gradient_mismatch(
            cx, f, {queries(c, DType::kF64, 1), keys(c, DType::kF64, 2), keys(c, DType::kF64, 3)}),
        "");
  }
}

TEST_F(AttentionTest, DecodingWithACacheContinuesTheWhole) {
  const Case whole{1, 70, 70, 2, 1, 8, true, 0};
  const Tensor q = queries(whole, DType::kF64, 1), k = keys(whole, DType::kF64, 2),
               v = keys(whole, DType::kF64, 3);
  Tape tape(false);
  const auto at = [&](const Tensor& t, std::int64_t begin, std::int64_t end) {
    const Tensor rows = t.view({70, t.dim(2)}).slice(begin, end);
    return tape.constant(rows.view({1, end - begin, t.dim(2)}));
  };
  const Var all = attention(cx, tape, at(q, 0, 70), at(k, 0, 70), at(v, 0, 70), options(whole));
  const std::vector<double> want = tape.value(all).to_host<double>(cx);
  for (const std::int64_t t : {0, 1, 63, 64, 69}) {
    Case step = whole;
    step.start = t;
    const Var y =
        attention(cx, tape, at(q, t, t + 1), at(k, 0, t + 1), at(v, 0, t + 1), options(step));
    const std::vector<double> got = tape.value(y).to_host<double>(cx);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double expected = want[static_cast<std::size_t>(t) * got.size() + i];
      EXPECT_TRUE(test::agrees(got[i], expected, test::tolerance(DType::kF64, 8))) << t;
    }
  }
}

// Scores in the thousands: the row maximum must be taken out before the exponential.
TEST_F(AttentionTest, LargeScoresDoNotOverflow) {
  const Case c{1, 300, 300, 1, 1, 4, true, 0};
  const Tensor q = queries(c, DType::kF32, 1), k = keys(c, DType::kF32, 2);
  scale(cx, q, 100.0);
  scale(cx, k, 100.0);
  Tape tape;
  const Var qv = tape.input(q);
  const Var y =
      attention(cx, tape, qv, tape.input(k), tape.input(keys(c, DType::kF32, 3)), options(c));
  const Tensor value = tape.value(y);
  tape.backward(cx, y, queries(c, DType::kF32, 4));
  for (const Tensor& t : {value, tape.grad(qv)}) {
    for (const float x : t.to_host<float>(cx))
      ASSERT_TRUE(std::isfinite(x));
  }
}

// One key block whose first row sees nothing, as in padded or chunked batches, then one it sees.
template <class C>
void check_rows_that_see_nothing_at_first(const AttentionLoops<C>& loops) {
  constexpr std::int64_t kRows = 2, kCols = 40, kWidth = 3;
  const C nothing = -std::numeric_limits<C>::infinity();
  std::vector<C> most(kRows, nothing), sum(kRows, C(0)), out(kRows * kWidth, C(0));
  std::vector<C> scores(kRows * kCols, C(2));
  std::fill_n(scores.begin() + kCols, kCols, nothing);  // the row before sees nothing by `seen`
  loops.softmax_step({scores.data(), kRows, kCols, C(1), 0}, most.data(), sum.data(), nullptr,
                     kWidth);
  EXPECT_THAT(scores, testing::Each(C(0)));
  EXPECT_THAT(most, testing::Each(nothing));
  EXPECT_THAT(sum, testing::Each(C(0)));

  std::vector<C> seen(kRows * kCols, C(2));
  loops.softmax_step({seen.data(), kRows, kCols, C(1), kCols}, most.data(), sum.data(), out.data(),
                     kWidth);
  EXPECT_THAT(seen, testing::Each(C(1)));
  EXPECT_THAT(most, testing::Each(C(2)));
  EXPECT_THAT(sum, testing::Each(C(kCols)));
  EXPECT_THAT(out, testing::Each(C(0)));

  // A later block that they do not see changes nothing.
  std::fill_n(seen.begin(), kRows * kCols, C(5));
  std::fill_n(out.begin(), kRows * kWidth, C(7));
  loops.softmax_step({seen.data(), kRows, kCols, C(1), -kRows}, most.data(), sum.data(), out.data(),
                     kWidth);
  EXPECT_THAT(seen, testing::Each(C(0)));
  EXPECT_THAT(most, testing::Each(C(2)));
  EXPECT_THAT(sum, testing::Each(C(kCols)));
  EXPECT_THAT(out, testing::Each(C(7)));
}

TEST_F(AttentionTest, SoftmaxStepTakesRowsThatSeeNothing) {
  check_rows_that_see_nothing_at_first(attention_kernels().f32);
  check_rows_that_see_nothing_at_first(attention_kernels().f64);
}

TEST_F(AttentionTest, GradientOfARowThatSawNothingIsZero) {
  constexpr std::int64_t kCols = 40;
  const float nothing = -std::numeric_limits<float>::infinity();
  for (const std::int64_t seen : {std::int64_t{0}, kCols}) {
    std::vector<float> scores(kCols, seen == 0 ? 3.0F : nothing), d_probs(kCols, 1.0F);
    const float lse = nothing, delta = 0.5F;
    attention_kernels().f32.gradient_step({scores.data(), 1, kCols, 1.0F, seen}, d_probs.data(),
                                          &lse, &delta);
    EXPECT_THAT(scores, testing::Each(0.0F));
    EXPECT_THAT(d_probs, testing::Each(0.0F));
  }
}

// Queries that come before all keys: the first of them see nothing, whole blocks of them among
// them.
TEST_F(AttentionTest, QueriesBeforeAllKeysGiveZeros) {
  constexpr std::int64_t kBlind = 70;
  const Case c{1, 130, 130, 1, 1, 8, true, 0};
  for (const DType dtype : {DType::kF32, DType::kF64, DType::kBf16}) {
    AttentionTensors t{queries(c, dtype, 1), keys(c, dtype, 2), keys(c, dtype, 3), {}, {}};
    const auto like = [&](const Tensor& x) { return Tensor::empty(cx, x.shape(), x.dtype()); };
    t.y = like(t.q);
    t.lse = Tensor::empty(cx, {1, 1, c.queries}, dtype == DType::kF64 ? dtype : DType::kF32);
    AttentionShape s{1, c.queries, c.keys, 1, 1, c.width, true, 0.5, -kBlind};
    cpu::attention_forward(cx, s, t);
    const AttentionGradients g{like(t.q), like(t.k), like(t.v)};
    cpu::attention_backward(cx, s, t, queries(c, dtype, 4), g);
    const auto y = t.y.to_host<double>(cx), dq = g.dq.to_host<double>(cx);
    for (std::int64_t i = 0; i < c.queries * c.width; ++i) {
      const auto at = static_cast<std::size_t>(i);
      ASSERT_EQ(y[at] == 0.0, i < kBlind * c.width)
          << name_of(dtype) << ", y[" << i << "] " << y[at];
      ASSERT_TRUE(i >= kBlind * c.width || dq[at] == 0.0)
          << name_of(dtype) << ", dq[" << i << "] " << dq[at];
    }
    for (const Tensor& x : {g.dq, g.dk, g.dv})
      for (const double value : x.to_host<double>(cx))
        ASSERT_TRUE(std::isfinite(value)) << name_of(dtype);
  }
}

// Over the root mean square of what is wanted.
double relative_error(const std::vector<double>& got, const std::vector<double>& want) {
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return std::sqrt(error / size);
}

// One key of 300 too many or too few would make a difference of some hundredths; what is rounded to
// bf16 in between makes one of half the spacing of its numbers.
TEST_F(AttentionTest, EveryWayOfMultiplyingBf16GivesTheSame) {
  for (const Case c : {Case{1, 300, 300, 2, 1, 80, true, 0}, Case{2, 65, 301, 2, 2, 64, false, 0},
                       Case{1, 70, 259, 1, 1, 6, true, 189}}) {
    const std::vector<Tensor> inputs{queries(c, DType::kBf16, 1), keys(c, DType::kBf16, 2),
                                     keys(c, DType::kBf16, 3), queries(c, DType::kBf16, 4)};
    std::vector<double> exact[4];
    for (const cpu::Bf16Path path : cpu::bf16_paths()) {
      const test::OnBf16Path on(path);
      Tape tape;
      const Var q = tape.input(inputs[0]), k = tape.input(inputs[1]), v = tape.input(inputs[2]);
      const Var y = attention(on.cx, tape, q, k, v, options(c));
      const Tensor value = tape.value(y);
      tape.backward(on.cx, y, inputs[3]);
      const Tensor results[] = {value, tape.grad(q), tape.grad(k), tape.grad(v)};
      for (std::size_t i = 0; i < 4; ++i) {
        const std::vector<double> found = results[i].to_host<double>(on.cx);
        if (path == cpu::bf16_paths().front()) exact[i] = found;
        EXPECT_LT(relative_error(found, exact[i]), test::epsilon(DType::kBf16))
            << name_of(path) << ", result " << i << " of width " << c.width;
      }
    }
  }
}

TEST_F(AttentionTest, BitsDoNotDependOnTheNumberOfThreads) {
  const int before = thread_count();
  for (const DType dtype : {DType::kF32, DType::kBf16, DType::kF64}) {
    for (const Case c :
         {Case{2, 300, 300, 2, 1, 16, true, 0}, Case{1, 70, 70, 1, 1, 8, false, 0}}) {
      std::vector<std::vector<std::byte>> first;
      for (const int threads : {1, 2, 3}) {
        set_thread_count(threads);
        std::vector<std::vector<std::byte>> now;
        for (const Tensor& t : run(c, dtype)) {
          now.emplace_back(t.bytes());
          std::memcpy(now.back().data(), t.raw(), t.bytes());
        }
        if (threads == 1) first = now;
        EXPECT_EQ(now, first) << name_of(dtype) << ", " << threads << " threads";
      }
    }
  }
  set_thread_count(before);
}

TEST_F(AttentionTest, TheScoreMatrixNeverExists) {
  const int before = thread_count();
  set_thread_count(1);
  const Case c{1, 2048, 2048, 1, 1, 8, true, 0};
  run(c, DType::kBf16);
  runtime.allocator().reset_peaks();
  const std::size_t live = runtime.allocator().stats().live_bytes;
  run(c, DType::kBf16);
  EXPECT_LT(runtime.allocator().stats().peak_bytes - live, 2048U * 2048U);
  set_thread_count(before);
}

TEST_F(AttentionTest, ErrorsSayWhatDoesNotFit) {
  Tape tape;
  const auto var = [&](const Shape& s, DType t = DType::kF32) {
    return tape.constant(Tensor::zeros(cx, s, t));
  };
  const auto message = [&](Var q, Var k, Var v, AttentionOptions o) -> std::string {
    try {
      attention(cx, tape, q, k, v, o);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::kShape);
      return e.what();
    }
    return "no error";
  };
  const Var q = var({2, 3, 8}), k = var({2, 5, 4});
  EXPECT_EQ(message(q, k, var({2, 5, 8}), {.heads = 2, .kv_heads = 1}),
            "attention: q [2, 3, 8], k [2, 5, 4] and v [2, 5, 8] are not [B, T, H], [B, S, G] and "
            "[B, S, G]");
  EXPECT_EQ(message(q, k, var({2, 5, 4}, DType::kBf16), {.heads = 2, .kv_heads = 1}),
            "attention: q is f32, k f32, v bf16");
  EXPECT_EQ(message(q, k, k, {.heads = 3, .kv_heads = 2}),
            "attention: 3 heads cannot share 2 key/value heads");
  EXPECT_EQ(message(q, k, k, {.heads = 4, .kv_heads = 1}),
            "attention: 4 heads in q [2, 3, 8] and 1 in k [2, 5, 4] differ in width");
  EXPECT_EQ(message(q, var({2, 0, 4}), var({2, 0, 4}), {.heads = 2, .kv_heads = 1}),
            "attention: no keys: k [2, 0, 4]");
  EXPECT_EQ(message(q, k, k, {.heads = 2, .kv_heads = 1, .query_start = -1}),
            "attention: queries start at -1");
  EXPECT_EQ(message(q, k, k, {.heads = 2, .kv_heads = 1, .scale = -0.5}),
            "attention: the scale -0.5 is not positive");
}

}  // namespace
}  // namespace gradwire
