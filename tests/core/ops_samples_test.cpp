// Several samples in a row: attention and rotary positions give each what it gets alone.
#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/ops/attention/attention.h"
#include "core/ops/rope/rope.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using Lengths = std::vector<std::vector<std::int64_t>>;  // of the samples of each row

constexpr std::int64_t kHeads = 4, kKvHeads = 2, kWidth = 6;

// On both sides of the blocks of 64 queries and 256 keys inside.
const Lengths kRows{{1, 70, 200, 300, 129}, {700}, {256, 256, 188}, {63, 1, 2, 634}};

std::vector<std::int32_t> starts_of(const Lengths& rows) {
  std::vector<std::int32_t> starts;
  for (const auto& row : rows) {
    std::int64_t begin = 0;
    for (const std::int64_t length : row) {
      starts.insert(starts.end(), static_cast<std::size_t>(length),
                    static_cast<std::int32_t>(begin));
      begin += length;
    }
  }
  return starts;
}

// Attention and its gradient by the definition, one score at a time, in double.
struct Naive {
  std::vector<double> q, k, v, dy;
  std::vector<double> y{}, dq{}, dk{}, dv{};

  void run(std::int64_t batch, std::int64_t tokens, const std::vector<std::int32_t>& starts) {
    y.assign(q.size(), 0.0);
    dq = y;
    dk.assign(k.size(), 0.0);
    dv = dk;
    for (std::int64_t row = 0; row < batch * tokens; ++row)
      for (std::int64_t h = 0; h < kHeads; ++h)
        query(row, h, row - row % tokens + starts[static_cast<std::size_t>(row)]);
  }

 private:
  void query(std::int64_t row, std::int64_t head, std::int64_t first) {
    const auto at = [](std::int64_t r, std::int64_t h, std::int64_t heads) {
      return static_cast<std::size_t>((r * heads + h) * kWidth);
    };
    const std::size_t i = at(row, head, kHeads);
    const auto key = [&](std::int64_t s) { return at(s, head / (kHeads / kKvHeads), kKvHeads); };
    const double scale = 1.0 / std::sqrt(static_cast<double>(kWidth));
    std::vector<double> p, dp;
    double sum = 0.0, dot = 0.0;
    for (std::int64_t s = first; s <= row; ++s) {
      double score = 0.0;
      for (std::size_t j = 0; j < kWidth; ++j)
        score += q[i + j] * k[key(s) + j];
      p.push_back(std::exp(scale * score));
      sum += p.back();
    }
    for (std::int64_t s = first; s <= row; ++s) {
      double& share = p[static_cast<std::size_t>(s - first)];
      share /= sum;
      dp.push_back(0.0);
      for (std::size_t j = 0; j < kWidth; ++j) {
        y[i + j] += share * v[key(s) + j];
        dv[key(s) + j] += share * dy[i + j];
        dp.back() += dy[i + j] * v[key(s) + j];
      }
      dot += share * dp.back();
    }
    for (std::int64_t s = first; s <= row; ++s) {
      const auto n = static_cast<std::size_t>(s - first);
      const double ds = p[n] * (dp[n] - dot) * scale;
      for (std::size_t j = 0; j < kWidth; ++j) {
        dq[i + j] += ds * k[key(s) + j];
        dk[key(s) + j] += ds * q[i + j];
      }
    }
  }
};

class SamplesTest : public testing::Test {
 protected:
  Tensor random(const Shape& shape, DType dtype, std::uint64_t seed) {
    Tensor t = Tensor::empty(cx, shape, DType::kF32);
    fill_uniform(cx, t, Rng{seed, 0}, -1.0, 1.0);
    return cast(cx, t, dtype);
  }
  // q, k, v and dy of such rows.
  std::vector<Tensor> inputs(std::int64_t batch, std::int64_t tokens, DType dtype) {
    const Shape queries{batch, tokens, kHeads * kWidth}, keys{batch, tokens, kKvHeads * kWidth};
    return {random(queries, dtype, 1), random(keys, dtype, 2), random(keys, dtype, 3),
            random(queries, dtype, 4)};
  }
  // y, dq, dk and dv.
  std::vector<Tensor> attend(const std::vector<Tensor>& in, const Tensor& starts) {
    AttentionOptions options{.heads = kHeads, .kv_heads = kKvHeads};
    options.sample_starts = starts;
    Tape tape;
    const Var q = tape.input(in[0]), k = tape.input(in[1]), v = tape.input(in[2]);
    const Var y = attention(cx, tape, q, k, v, options);
    const Tensor value = tape.value(y);
    tape.backward(cx, y, in[3]);
    return {value, tape.grad(q), tape.grad(k), tape.grad(v)};
  }
  std::string refusal(const Shape& shape, const std::vector<std::int32_t>& starts, ErrorKind kind,
                      bool causal = true) {
    AttentionOptions options{.heads = kHeads, .kv_heads = kKvHeads, .causal = causal};
    options.sample_starts = Tensor::from(cx, shape, starts);
    const std::vector<Tensor> in = inputs(1, 3, DType::kF32);
    Tape tape(false);
    try {
      attention(cx, tape, tape.input(in[0]), tape.input(in[1]), tape.input(in[2]), options);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), kind) << e.what();
      return e.what();
    }
    return "no error";
  }
  Runtime runtime{RuntimeOptions{{}, {.poison_freed = true}}};
  Context& cx = runtime.context();
};

class SamplesTypes : public SamplesTest, public testing::WithParamInterface<DType> {};
INSTANTIATE_TEST_SUITE_P(All, SamplesTypes,
                         testing::Values(DType::kF32, DType::kF64, DType::kBf16));

TEST_P(SamplesTypes, AttentionAgreesWithTheDefinition) {
  const auto batch = std::ssize(kRows);
  const std::int64_t tokens = 700;
  const std::vector<std::int32_t> starts = starts_of(kRows);
  const std::vector<Tensor> in = inputs(batch, tokens, GetParam());
  Naive want{in[0].to_host<double>(cx), in[1].to_host<double>(cx), in[2].to_host<double>(cx),
             in[3].to_host<double>(cx)};
  want.run(batch, tokens, starts);
  const std::vector<Tensor> got = attend(in, Tensor::from(cx, {batch, tokens}, starts));
  const std::vector<double>* const wanted[] = {&want.y, &want.dq, &want.dk, &want.dv};
  for (std::size_t t = 0; t < got.size(); ++t) {
    const std::vector<double> found = got[t].to_host<double>(cx);
    for (std::size_t i = 0; i < found.size(); ++i) {
      ASSERT_TRUE(test::agrees(found[i], (*wanted[t])[i], test::tolerance(GetParam(), tokens)))
          << "result " << t << "[" << i << "] " << found[i] << " instead of " << (*wanted[t])[i];
    }
  }
}

TEST_P(SamplesTypes, AttentionGivesEachSampleWhatItGetsAlone) {
  const std::int64_t tokens = 700;
  for (const auto& row : kRows) {
    const std::vector<Tensor> in = inputs(1, tokens, GetParam());
    const std::vector<Tensor> all = attend(in, Tensor::from(cx, {1, tokens}, starts_of({row})));
    std::int64_t begin = 0;
    for (const std::int64_t length : row) {
      const auto part = [&](const Tensor& t) {
        return t.view({tokens, t.dim(2)}).slice(begin, begin + length).view({1, length, t.dim(2)});
      };
      std::vector<Tensor> alone;
      for (const Tensor& t : in)
        alone.push_back(part(t));
      const std::vector<Tensor> want = attend(alone, {});
      for (std::size_t t = 0; t < want.size(); ++t) {
        const auto w = want[t].to_host<double>(cx), g = part(all[t]).to_host<double>(cx);
        for (std::size_t i = 0; i < w.size(); ++i)
          ASSERT_TRUE(test::agrees(g[i], w[i], test::tolerance(GetParam(), length)))
              << "sample at " << begin << ", result " << t << "[" << i << "]";
      }
      begin += length;
    }
  }
}

// Whole blocks of keys that none of the queries sees are not read: what is in them, be it no
// number, does not matter, forward or backward.
TEST_P(SamplesTypes, AttentionLeavesOutBlocksThatNothingSees) {
  const std::int64_t tokens = 700, first = 512;
  std::vector<Tensor> in = inputs(1, tokens, GetParam());
  for (const std::size_t t : {1, 2}) {
    std::vector<double> values = in[t].to_host<double>(cx);
    std::fill_n(values.begin(), first * kKvHeads * kWidth,
                std::numeric_limits<double>::quiet_NaN());
    in[t] = cast(cx, Tensor::from(cx, in[t].shape(), values), GetParam());
  }
  const std::vector<std::int32_t> starts = starts_of({{first, tokens - first}});
  for (const Tensor& t : attend(in, Tensor::from(cx, {1, tokens}, starts))) {
    const std::vector<double> found = t.to_host<double>(cx);
    for (auto i = static_cast<std::size_t>(first * t.dim(2)); i < found.size(); ++i)
      ASSERT_TRUE(std::isfinite(found[i])) << i;
  }
}

TEST_P(SamplesTypes, RopeCountsInEachSampleAnew) {
  const std::int64_t tokens = 300, width = kHeads * kWidth;
  const std::vector<std::int64_t> row{7, 1, 192, 100};
  const Tensor x = random({1, tokens, width}, GetParam(), 1);
  const auto turned = [&](const Tensor& in, const Tensor& starts) {
    RopeOptions options{.heads = kHeads, .theta = 500.0};
    options.sample_starts = starts;
    Tape tape;
    const Var v = tape.input(in);
    const Var y = rope(cx, tape, v, options);
    const Tensor value = tape.value(y);
    tape.backward(cx, y, in);
    return std::pair(value.to_host<double>(cx), tape.grad(v).to_host<double>(cx));
  };
  const auto [all, all_back] = turned(x, Tensor::from(cx, {1, tokens}, starts_of({row})));
  std::int64_t begin = 0;
  for (const std::int64_t length : row) {
    const Tensor part = x.view({tokens, width}).slice(begin, begin + length);
    const auto [alone, alone_back] = turned(part.view({1, length, width}), {});
    for (std::size_t i = 0; i < alone.size(); ++i) {
      const std::size_t at = static_cast<std::size_t>(begin * width) + i;
      ASSERT_EQ(all[at], alone[i]) << at;
      ASSERT_EQ(all_back[at], alone_back[i]) << at;
    }
    begin += length;
  }
}

TEST_F(SamplesTest, ErrorsSayWhatDoesNotFit) {
  EXPECT_EQ(refusal({1, 2}, {0, 0}, ErrorKind::kShape),
            "attention: sample starts i32 [1, 2], not i32 [1, 3]");
  EXPECT_EQ(refusal({1, 3}, {0, 2, 2}, ErrorKind::kData),
            "attention: token 1 of row 0 is of a sample that starts at 2");
  EXPECT_EQ(refusal({1, 3}, {0, 1, 0}, ErrorKind::kData),
            "attention: token 2 of row 0 is of a sample that starts at 0");
  EXPECT_EQ(refusal({1, 3}, {0, -1, 0}, ErrorKind::kData),
            "attention: token 1 of row 0 is of a sample that starts at -1");
  EXPECT_EQ(refusal({1, 3}, {0, 0, 0}, ErrorKind::kShape, /*causal=*/false),
            "attention: samples in a row need causal attention of the row with itself");
}

}  // namespace
}  // namespace gradwire
