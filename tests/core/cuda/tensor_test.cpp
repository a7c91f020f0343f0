// The tensor functions on CUDA against the CPU: whatever rounds once must give the same bits.
#include <cmath>
#include <limits>

#include "tests/core/cuda/fixture.h"
#include "tests/support/tolerance.h"

namespace gradwire::test {
namespace {

using CudaTensorUpload = CudaTest;

constexpr DType kFloats[] = {DType::kF32, DType::kF64, DType::kBf16};
// Around the pack widths, the block and, last, what one round of the largest grid covers.
constexpr std::int64_t kSizes[] = {1, 2, 3, 5, 7, 8, 9, 31, 255, 256, 257, 1023, 70001, 9000001};

// Every magnitude, ties between neighbours in bf16, and what is no ordinary number.
std::vector<double> awkward_values(std::int64_t n, std::uint64_t seed) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<double> special{0.0,
                                    -0.0,
                                    1.00390625,
                                    1.01171875,
                                    3.4028235e38,
                                    -3.4e38,
                                    1e-40,
                                    1e-45,
                                    kInfinity,
                                    -kInfinity,
                                    std::numeric_limits<double>::quiet_NaN(),
                                    65504.0};
  std::vector<double> x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double u = to_uniform(random_word(seed, 2 * i));
    const double e = to_uniform(random_word(seed, 2 * i + 1));
    x[i] =
        i % 5 == 4 ? special[i / 5 % special.size()] : (2.0 * u - 1.0) * std::exp2(80.0 * e - 40.0);
  }
  return x;
}

void expect_same(const std::vector<double>& got, const std::vector<double>& want,
                 const std::string& what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i]) && std::isnan(got[i])) continue;
    ASSERT_EQ(std::signbit(got[i]), std::signbit(want[i])) << what << " element " << i;
    ASSERT_EQ(got[i], want[i]) << what << " element " << i;
  }
}

std::string named(DType to, DType from, std::int64_t n, std::int64_t offset) {
  return std::string(name_of(to)) + " of " + name_of(from) + ", " + std::to_string(n) + " from " +
         std::to_string(offset);
}

using CudaTensor = CudaTest;

TEST_F(CudaTensor, ConversionsRoundAsOnTheCpu) {
  for (const DType from : kFloats) {
    for (const DType to : kFloats) {
      for (const std::int64_t n : kSizes) {
        for (const std::int64_t offset : {0, 1, 4}) {
          if (n > 100000 && offset != 0) continue;
          const Tensor host =
              cast(cpu, Tensor::from(cpu, {n + offset}, awkward_values(n + offset, 3)), from);
          const Tensor device = on_cuda(host).slice(offset, n + offset);
          expect_same(cast(cuda, device, to).to_host<double>(cuda),
                      cast(cpu, host.slice(offset, n + offset), to).to_host<double>(cpu),
                      named(to, from, n, offset));
        }
      }
    }
  }
}

TEST_F(CudaTensor, ScaledSumsAgreeWithTheCpu) {
  for (const DType from : kFloats) {
    for (const DType to : kFloats) {
      for (const std::int64_t n : {1, 7, 8, 1025}) {
        for (const std::int64_t offset : {0, 1}) {
          std::vector<double> x(static_cast<std::size_t>(n + offset));
          for (std::size_t i = 0; i < x.size(); ++i)
            x[i] = 4.0 * to_uniform(random_word(5, i)) - 2.0;
          const Tensor base = Tensor::from(cpu, {n + offset}, x);
          const Tensor dst = Tensor::empty(cpu, base.shape(), to);
          copy(cpu, dst, base);
          const Tensor src = cast(cpu, base, from);
          const Tensor cuda_dst = on_cuda(dst), cuda_src = on_cuda(src);
          add_scaled(cpu, dst.slice(offset, n + offset), src.slice(offset, n + offset), -0.37);
          add_scaled(cuda, cuda_dst.slice(offset, n + offset), cuda_src.slice(offset, n + offset),
                     -0.37);
          const auto got = cuda_dst.to_host<double>(cuda), want = dst.to_host<double>(cpu);
          for (std::size_t i = 0; i < want.size(); ++i) {
            ASSERT_TRUE(agrees(got[i], want[i], tolerance(to, 2)))
                << named(to, from, n, offset) << " element " << i << ": " << got[i] << ", "
                << want[i];
          }
        }
      }
    }
  }
}

TEST_F(CudaTensor, ScalingRoundsAsOnTheCpu) {
  for (const DType type : kFloats) {
    for (const std::int64_t n : {1, 7, 8, 1025}) {
      for (const std::int64_t offset : {0, 1}) {
        const Tensor base = Tensor::from(cpu, {n + offset}, awkward_values(n + offset, 9));
        const Tensor host = Tensor::empty(cpu, base.shape(), type);
        copy(cpu, host, base);
        const Tensor device = on_cuda(host);
        scale(cpu, host.slice(offset, n + offset), 1.7);
        scale(cuda, device.slice(offset, n + offset), 1.7);
        expect_same(device.to_host<double>(cuda), host.to_host<double>(cpu),
                    named(type, type, n, offset));
      }
    }
  }
}

template <class T>
void expect_filled(Context& cx, DType type, double value, T want) {
  for (const std::int64_t n : {1, 9, 100003}) {
    const Tensor t = Tensor::zeros(cx, {n + 2}, type);
    fill(cx, t.slice(1, n + 1), value);
    const std::vector<T> got = t.to_host<T>(cx);
    ASSERT_EQ(got.front(), T(0));
    ASSERT_EQ(got.back(), T(0));
    for (std::int64_t i = 1; i <= n; ++i)
      ASSERT_EQ(got[static_cast<std::size_t>(i)], want) << name_of(type) << " " << i << " of " << n;
  }
}

TEST_F(CudaTensor, FillWritesItsRangeAndNothingElse) {
  expect_filled<float>(cuda, DType::kF32, -1.5, -1.5F);
  expect_filled<double>(cuda, DType::kF64, 0.1, 0.1);
  expect_filled<float>(cuda, DType::kBf16, 1.01, 1.0078125F);
  expect_filled<std::int32_t>(cuda, DType::kI32, -7.9, -7);
  expect_filled<std::int64_t>(cuda, DType::kI64, 1e15, 1000000000000000);
}

TEST_F(CudaTensor, RandomValuesAreThoseOfTheCpu) {
  const Tensor host = Tensor::empty(cpu, {1001}, DType::kBf16);
  const Tensor device = Tensor::empty(cuda, {1001}, DType::kBf16);
  fill_normal(cpu, host, Rng{4, 8}, 0.02);
  fill_normal(cuda, device, Rng{4, 8}, 0.02);
  expect_same(device.to_host<double>(cuda), host.to_host<double>(cpu), "normal");
}

// Whose pinned copies wait behind much work, so that their memory must not be used again too soon.
TEST_F(CudaTensorUpload, ManyWhileTheDeviceIsBusy) {
  const Tensor busy = Tensor::zeros(cuda, {std::int64_t{1} << 24}, DType::kF32);
  std::vector<Tensor> uploaded;
  for (std::int32_t i = 0; i < 300; ++i) {
    fill(cuda, busy, i);
    uploaded.push_back(Tensor::from(cuda, {1000}, std::vector<std::int32_t>(1000, i)));
  }
  for (std::int32_t i = 0; i < 300; ++i) {
    const auto values = uploaded[static_cast<std::size_t>(i)].to_host<std::int32_t>(cuda);
    EXPECT_EQ(values, std::vector<std::int32_t>(1000, i));
  }
}

TEST_F(CudaTensorUpload, LargeOnesAsWell) {
  const std::vector<std::int32_t> values(std::size_t{3} << 20, 7);
  const Tensor t = Tensor::from(cuda, {std::int64_t{3} << 20}, values);
  EXPECT_EQ(t.to_host<std::int32_t>(cuda), values);
}

}  // namespace
}  // namespace gradwire::test
