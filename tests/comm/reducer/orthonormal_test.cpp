#include "comm/reducer/orthonormal.h"

#include <cmath>
#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "comm/reducer/low_rank_kernels.h"
#include "core/rng.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

using Values = std::vector<float>;

Values drawn(std::int64_t n, std::uint64_t seed) {
  Values x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = 2.0F * to_uniform(random_word(seed, i)) - 1.0F;
  return x;
}

struct Basis {
  Values rows;
  std::vector<std::uint8_t> dependent;
  bool finite;
};
Basis basis_of(Values x, std::int64_t rows) {
  const auto n = static_cast<std::int64_t>(x.size()) / rows;
  std::vector<double> room(static_cast<std::size_t>(orthonormal_room(rows, n)), NAN);
  std::vector<std::uint8_t> dependent(static_cast<std::size_t>(rows), 7);
  const bool finite = orthonormalize_rows(x.data(), rows, n, room.data(), dependent.data());
  return {x, dependent, finite};
}

double product(const Values& x, std::int64_t i, std::int64_t j, std::int64_t n) {
  double sum = 0.0;
  for (std::int64_t k = 0; k < n; ++k)
    sum += static_cast<double>(x[static_cast<std::size_t>(i * n + k)]) *
           static_cast<double>(x[static_cast<std::size_t>(j * n + k)]);
  return sum;
}

void expect_orthonormal(const Basis& b) {
  const auto rows = static_cast<std::int64_t>(b.dependent.size());
  const auto n = static_cast<std::int64_t>(b.rows.size()) / rows;
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j <= i; ++j) {
      const bool one = i == j && b.dependent[static_cast<std::size_t>(i)] == 0;
      EXPECT_NEAR(product(b.rows, i, j, n), one ? 1.0 : 0.0, test::tolerance(DType::kF32))
          << i << " " << j;
    }
}

TEST(Orthonormal, RowsOfAnyLength) {
  for (const std::int64_t n : {5, 31, 32, 33, 200}) {
    const Basis b = basis_of(drawn(5 * n, 3), 5);
    EXPECT_TRUE(b.finite);
    EXPECT_EQ(b.dependent, std::vector<std::uint8_t>(5, 0)) << n;
    expect_orthonormal(b);
  }
}

// The first row's direction stays, whatever its size; nearly parallel ones lose nothing of
// orthogonality; what is a combination, or nothing at all, is told apart.
TEST(Orthonormal, NearlyDependentAndDependentRows) {
  constexpr std::int64_t kN = 64;
  Values x = drawn(6 * kN, 5);
  for (std::size_t j = 0; j < kN; ++j) {
    x[j] *= 1e-18F;
    x[kN + j] = 1e18F * x[j] + 1e-4F * x[kN + j];
    x[2 * kN + j] = 3.0F * x[kN + j] - 1e18F * x[j];  // of both before
    x[3 * kN + j] = 0.0F;
    x[5 * kN + j] = x[4 * kN + j];
  }
  const Basis b = basis_of(x, 6);
  EXPECT_EQ(b.dependent, (std::vector<std::uint8_t>{0, 0, 1, 1, 0, 1}));
  expect_orthonormal(b);
  const double size = std::sqrt(product(x, 0, 0, kN));
  for (std::size_t j = 0; j < kN; ++j)
    EXPECT_NEAR(b.rows[j], static_cast<double>(x[j]) / size, 1e-6);
}

TEST(Orthonormal, SaysWhatIsNotFinite) {
  for (const float bad : {NAN, INFINITY}) {
    Values x = drawn(60, 1);
    x[25] = bad;
    EXPECT_FALSE(basis_of(x, 3).finite);
  }
}

// Ranks on different processors must find the same factors.
TEST(LowRankKernels, AreTheSameBitForBitForEveryInstructionSet) {
  const Isa best = detect_isa();
  const auto run = [](const LowRankKernels& loops) {
    Values out;
    for (const std::int64_t n : {1, 15, 16, 100, 1003}) {
      const Values x = drawn(n, 1), y = drawn(LowRankKernels::kMost * n, 2);
      for (int count = 1; count <= LowRankKernels::kMost; ++count) {
        const float* from[LowRankKernels::kMost] = {};
        for (int k = 0; k < count; ++k)
          from[k] = y.data() + k * n;
        float sums[LowRankKernels::kMost] = {};
        loops.dots(x.data(), from, count, n, sums);
        out.insert(out.end(), sums, sums + count);
        for (const bool add : {false, true}) {
          Values to = x;
          loops.combine(add, sums, from, count, n, to.data());
          out.insert(out.end(), to.begin(), to.end());
        }
      }
    }
    std::vector<double> a(96), b(96);
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] = 1.0 / (1.0 + static_cast<double>(i));
      b[i] = 1.0 / (3.0 + static_cast<double>(i));
    }
    const double dot = loops.dot(a.data(), b.data(), 96);
    loops.subtract(dot, a.data(), 96, b.data());
    for (const double v : b) {
      float halves[2];
      std::memcpy(halves, &v, sizeof v);
      out.insert(out.end(), halves, halves + 2);
    }
    return out;
  };
  const auto same = [](const Values& a, const Values& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
  };
  const Values v2 = run(isa_v2::low_rank_kernels);
  if (best >= Isa::kV3) {
    EXPECT_TRUE(same(v2, run(isa_v3::low_rank_kernels)));
  }
  if (best >= Isa::kV4) {
    EXPECT_TRUE(same(v2, run(isa_v4::low_rank_kernels)));
  }
}

}  // namespace
}  // namespace gradwire
