// Attention in bf16 on tensor cores against the CPU's in f32 on the same numbers: widths with and
// without padding, ragged tiles, groups, a cache, and scores too large to be scaled before the
// maximum is taken.
#include "core/ops/attention/attention.h"

#include <cmath>

#include "tests/core/cuda/fixture.h"
#include "tests/support/tolerance.h"

namespace gradwire::test {
namespace {

struct Sizes {
  std::int64_t batch, queries, keys, heads, kv_heads, width;
  bool causal;
  std::int64_t start;
  friend void PrintTo(const Sizes& c, std::ostream* os) {
    *os << "B" << c.batch << " T" << c.queries << " S" << c.keys << " H" << c.heads << "/"
        << c.kv_heads << " D" << c.width << (c.causal ? " causal from " : " from ") << c.start;
  }
};

// y, dq, dk, dv.
using Results = std::vector<std::vector<double>>;

Results results_of(Context& cx, const Sizes& c, const std::vector<Tensor>& q_k_v,
                   const Tensor& dy) {
  Tape tape(true);
  std::vector<Var> in;
  for (const Tensor& t : q_k_v)
    in.push_back(tape.input(t));
  const Var y = attention(
      cx, tape, in[0], in[1], in[2],
      {.heads = c.heads, .kv_heads = c.kv_heads, .causal = c.causal, .query_start = c.start});
  Results all{tape.value(y).to_host<double>(cx)};
  tape.backward(cx, y, dy);
  for (const Var v : in)
    all.push_back(tape.grad(v).to_host<double>(cx));
  return all;
}

// The length of the difference of two vectors, relative to the second's.
double relative_error(const std::vector<double>& got, const std::vector<double>& want) {
  double difference = 0.0, size = 0.0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return std::sqrt(difference / size);
}

class CudaAttention : public CudaTestWithParam<Sizes> {
 protected:
  std::vector<Tensor> inputs(const Sizes& c) {
    const Shape queries{c.batch, c.queries, c.heads * c.width};
    const Shape keys{c.batch, c.keys, c.kv_heads * c.width};
    std::vector<Tensor> all;
    for (const Shape& shape : {queries, keys, keys, queries}) {
      const Tensor wide = Tensor::empty(cpu, shape, DType::kF32);
      fill_normal(cpu, wide, Rng{7, all.size()}, 1.0);
      all.push_back(cast(cpu, wide, DType::kBf16));
    }
    return all;
  }
  Results on_gpu(const Sizes& c, std::vector<Tensor> q_k_v_dy) {
    std::vector<Tensor> there = on_cuda(q_k_v_dy);
    const Tensor dy = there.back();
    there.pop_back();
    return results_of(cuda, c, there, dy);
  }
};

INSTANTIATE_TEST_SUITE_P(
    Sizes, CudaAttention,
    testing::Values(Sizes{2, 128, 128, 2, 2, 64, true, 0}, Sizes{1, 300, 300, 4, 2, 64, true, 0},
                    Sizes{1, 257, 257, 8, 1, 128, true, 0}, Sizes{2, 65, 65, 1, 1, 32, true, 0},
                    Sizes{1, 130, 190, 2, 1, 96, false, 0}, Sizes{1, 200, 333, 3, 3, 80, true, 133},
                    Sizes{1, 33, 500, 2, 2, 40, true, 467}, Sizes{1, 90, 300, 2, 1, 64, true, 10},
                    Sizes{3, 1, 77, 4, 4, 64, true, 76}, Sizes{1, 5, 1, 2, 2, 16, false, 0},
                    Sizes{1, 1030, 1030, 2, 1, 128, true, 0}));

TEST_P(CudaAttention, AgreesWithTheCpu) {
  const Sizes& c = GetParam();
  const std::vector<Tensor> narrow = inputs(c);
  std::vector<Tensor> wide;
  for (const Tensor& t : narrow)
    wide.push_back(cast(cpu, t, DType::kF32));
  const Tensor dy = wide.back();
  wide.pop_back();
  const Results want = results_of(cpu, c, wide, dy);
  const Results got = on_gpu(c, narrow);
  const char* names[] = {"y", "dq", "dk", "dv"};
  for (std::size_t i = 0; i < want.size(); ++i) {
    double largest = 0.0;
    for (const double w : want[i])
      largest = std::max(largest, std::abs(w));
    for (std::size_t j = 0; j < want[i].size(); ++j) {
      ASSERT_TRUE(
          agrees(got[i][j], want[i][j], tolerance(DType::kBf16), largest > 0.0 ? largest : 1.0))
          << names[i] << "[" << j << "] is " << got[i][j] << ", not " << want[i][j];
    }
    EXPECT_LE(largest == 0.0 ? 0.0 : relative_error(got[i], want[i]), epsilon(DType::kBf16))
        << names[i];
  }
}

TEST_P(CudaAttention, RepeatsBitForBit) {
  const std::vector<Tensor> in = inputs(GetParam());
  EXPECT_EQ(on_gpu(GetParam(), in), on_gpu(GetParam(), in));
}

TEST_P(CudaAttention, LargeScoresStayFinite) {
  std::vector<Tensor> in = inputs(GetParam());
  for (std::size_t i = 0; i < 2; ++i)
    scale(cpu, in[i], 1e15);
  for (const std::vector<double>& values : on_gpu(GetParam(), in)) {
    for (const double v : values)
      ASSERT_TRUE(std::isfinite(v));
  }
}

}  // namespace
}  // namespace gradwire::test
