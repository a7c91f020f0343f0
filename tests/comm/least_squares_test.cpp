// How the methods of feedback compare where ranks differ for good: the orderings of Gao, Islamov &
// Stich ("EControl", ICLR 2024, section 5) on their family of problems, 16 ranks, 200 dimensions.
// What bench/econtrol_table prints in full. Both ways are compressed here, so that noise leaves
// more than in the paper, where the answer travels as it is.
#include "tests/support/least_squares.h"

#include <optional>

#include <gtest/gtest.h>

#include "comm/reducer/compressed_reducer.h"

namespace gradwire::test {
namespace {

constexpr LeastSquares kExact{.zeta = 100.0}, kNoisy{.zeta = 100.0, .sigma = 10.0};

using Path = std::vector<std::vector<double>>;

// With a step of 2^-halvings / L; a tenth of the elements if the codec picks some.
Path path_of(const LeastSquares& problem, int halvings, int steps, Feedback method,
             const char* codec, std::optional<double> eta = {}) {
  const CompressionConfig config{
      .method = method, .codec = {.name = codec, .ratio = 0.1}, .eta = eta};
  const double gamma = std::ldexp(1.0, -halvings) / problem.smoothness();
  return descend(problem, gamma, steps, [&](Context& cx, Communicator& comm, auto layout) {
    return make_compressed_reducer(cx, comm, layout, config);
  });
}

double exact_error(Feedback method, const char* codec) {
  return tail_error(path_of(kExact, 3, 800, method, codec));
}

double noisy_error(Feedback method, const char* codec, std::optional<double> eta = {}) {
  return tail_error(path_of(kNoisy, 7, 1500, method, codec, eta));
}

double dense_error() {
  static const double error = noisy_error(Feedback::kPlain, "identity");
  return error;
}

// f32 gradients of about 1e3 leave 1e-12 or so.
TEST(LeastSquares, EstimatorsFindTheOptimumWhereFeedbackDoesNot) {
  for (const char* codec : {"topk", "sign"}) {
    EXPECT_LE(exact_error(Feedback::kEcontrol, codec), 1e-9) << codec;
    EXPECT_LE(exact_error(Feedback::kEf21, codec), 1e-8) << codec;
    EXPECT_GE(exact_error(Feedback::kEf, codec), 1.0) << codec;
    EXPECT_GE(exact_error(Feedback::kPlain, codec), 1.0) << codec;
  }
}

TEST(LeastSquares, EcontrolStandsNoiseBetterThanEf21AndFeedback) {
  const double control = noisy_error(Feedback::kEcontrol, "topk");
  EXPECT_LE(control, 5.0 * dense_error());
  EXPECT_LE(1.5 * control, noisy_error(Feedback::kEf21, "topk"));
  EXPECT_LE(10.0 * control, noisy_error(Feedback::kEf, "topk"));
  EXPECT_LE(noisy_error(Feedback::kEcontrol, "sign"), 2.5 * dense_error());
}

// All ranks pick the same elements, so that their mean is exact there, on the way back too.
TEST(LeastSquares, FeedbackWithSharedRandomPicksIsAsGoodAsDense) {
  EXPECT_LE(noisy_error(Feedback::kEf, "randk"), 1.2 * dense_error());
  EXPECT_LE(exact_error(Feedback::kEf, "randk"), 1e-8);
}

TEST(LeastSquares, EtaByItselfIsNearTheBest) {
  double best = INFINITY;
  for (const double eta : {0.01, 0.05, 0.1, 0.2})
    best = std::min(best, noisy_error(Feedback::kEcontrol, "topk", eta));
  EXPECT_LE(noisy_error(Feedback::kEcontrol, "topk"), 1.25 * best);
  EXPECT_EQ(noisy_error(Feedback::kEcontrol, "topk", 0.5), INFINITY);  // beyond the edge
}

// h takes over what the ranks' gradients differ by.
TEST(LeastSquares, EstimatorsDoNotSeeHowFarRanksDiffer) {
  LeastSquares alike = kNoisy;
  alike.zeta = 0.0;
  const double apart = noisy_error(Feedback::kEcontrol, "topk");
  const double together = tail_error(path_of(alike, 7, 1500, Feedback::kEcontrol, "topk"));
  EXPECT_NEAR(apart / together, 1.0, 0.05);
}

TEST(LeastSquares, EcontrolWithoutStrengthIsEf21BitForBit) {
  EXPECT_EQ(path_of(kNoisy, 5, 200, Feedback::kEcontrol, "topk", 0.0),
            path_of(kNoisy, 5, 200, Feedback::kEf21, "topk"));
}

}  // namespace
}  // namespace gradwire::test
