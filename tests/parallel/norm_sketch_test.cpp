#include "parallel/norm_sketch.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/parallel_for.h"
#include "core/rng.h"

namespace gradwire {
namespace {

// Of one rank, in tensors whose sizes are no multiples of the width.
std::vector<Tensor> gradients_of(Context& cx, std::uint64_t seed) {
  std::vector<Tensor> gradients;
  for (const std::int64_t n : {5L, 4096L, 70001L, 12289L}) {
    gradients.push_back(Tensor::empty(cx, {n}, DType::kF32));
    fill_normal(cx, gradients.back(), Rng{seed + static_cast<std::uint64_t>(n), 0}, 1.0);
  }
  return gradients;
}

double exact_norm(Context& cx, const std::vector<std::vector<Tensor>>& ranks) {
  double squares = 0.0;
  for (std::size_t b = 0; b < ranks[0].size(); ++b) {
    std::vector<double> sum(static_cast<std::size_t>(ranks[0][b].numel()));
    for (const std::vector<Tensor>& rank : ranks) {
      const std::vector<float> x = rank[b].to_host<float>(cx);
      for (std::size_t i = 0; i < x.size(); ++i)
        sum[i] += static_cast<double>(x[i]) / static_cast<double>(ranks.size());
    }
    for (const double s : sum)
      squares += s * s;
  }
  return std::sqrt(squares);
}

class NormSketchTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, NormSketchTest, testing::Values(1, 2, 3));

// 200 steps: the mean of the squared estimates is within four standard errors of the truth, and one
// estimate deviates as theory says, sqrt(2 / width) of the square.
TEST_P(NormSketchTest, SquareIsUnbiasedAndConcentrated) {
  const int n = GetParam();
  Runtime all;
  std::vector<std::vector<Tensor>> ranks;
  for (int r = 0; r < n; ++r)
    ranks.push_back(gradients_of(all.context(), static_cast<std::uint64_t>(r)));
  const double truth = std::pow(exact_norm(all.context(), ranks), 2);
  run_ranks(n, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    const std::vector<Tensor> mine = gradients_of(cx, static_cast<std::uint64_t>(comm.rank()));
    NormSketch sketch(cx);
    constexpr int kSteps = 200;
    double sum = 0.0, squares = 0.0;
    for (std::uint64_t step = 1; step <= kSteps; ++step) {
      const double error = std::pow(sketch.mean_norm(cx, comm, mine, step), 2) / truth - 1.0;
      sum += error;
      squares += error * error;
    }
    const double expected = std::sqrt(2.0 / static_cast<double>(NormSketch::kWidth));
    EXPECT_LT(std::abs(sum / kSteps), 4.0 * expected / std::sqrt(kSteps));
    EXPECT_GT(std::sqrt(squares / kSteps), 0.7 * expected);
    EXPECT_LT(std::sqrt(squares / kSteps), 1.4 * expected);
  });
}

// All of the gradient in one column of a matrix whose width divides that of the sketch.
TEST(NormSketchColumn, SpreadsOverTheSums) {
  Runtime runtime;
  Context& cx = runtime.context();
  constexpr std::int64_t kRows = 2048, kColumns = 256;
  std::vector<float> values(kRows * kColumns);
  for (std::int64_t r = 0; r < kRows; ++r)
    values[static_cast<std::size_t>(r * kColumns + 7)] = 1.0F;
  const std::vector<Tensor> bucket{{Tensor::from(cx, {kRows * kColumns}, values), {}, {}}};
  const auto world = make_local_world(1);
  NormSketch sketch(cx);
  double squares = 0.0;
  for (std::uint64_t step = 1; step <= 50; ++step)
    squares += std::pow(std::pow(sketch.mean_norm(cx, *world[0], bucket, step), 2) / kRows - 1, 2);
  EXPECT_LT(std::sqrt(squares / 50), 0.05);
}

TEST_P(NormSketchTest, SameOnAllRanksWhateverTheThreads) {
  std::vector<double> norms(static_cast<std::size_t>(GetParam()) * 2);
  for (const int threads : {1, 2}) {
    run_ranks(GetParam(), [&](Communicator& comm) {
      set_thread_count(threads);
      Runtime runtime;
      const auto rank = static_cast<std::size_t>(comm.rank());
      NormSketch sketch(runtime.context());
      norms[rank * 2 + static_cast<std::size_t>(threads - 1)] =
          sketch.mean_norm(runtime.context(), comm, gradients_of(runtime.context(), rank), 3);
    });
  }
  for (const double norm : norms)
    EXPECT_EQ(norm, norms[0]);
}

TEST_P(NormSketchTest, ANumberThatIsNoneIsSeenByAll) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    std::vector<Tensor> mine = gradients_of(cx, 1);
    if (comm.rank() == comm.size() - 1) mine[2].host<float>()[69999] = INFINITY;
    NormSketch sketch(cx);
    EXPECT_FALSE(std::isfinite(sketch.mean_norm(cx, comm, mine, 1)));
  });
}

}  // namespace
}  // namespace gradwire
