// gemm() of bf16 operands in every way that this processor has, against loops over doubles.
#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "core/ops/linear/bf16_unit.h"
#include "core/ops/linear/gemm.h"
#include "core/parallel_for.h"
#include "core/tensor.h"
#include "tests/support/bf16_path.h"
#include "tests/support/tolerance.h"

namespace gradwire {
namespace {

struct Sizes {
  std::int64_t batch, m, n, k;
  friend void PrintTo(const Sizes& s, std::ostream* os) {
    *os << s.batch << " of " << s.m << "x" << s.n << "x" << s.k;
  }
};

struct Form {
  bool a_transposed, b_transposed, narrow, adds, has_bias, packed, shared;
};
Form form_of(int bits) {
  const auto bit = [bits](int i) { return (bits >> i & 1) != 0; };
  Form f{bit(0), bit(1), bit(2), bit(3), bit(4), bit(5), bit(6)};
  f.adds = f.adds && !f.narrow;  // a bf16 result cannot be added to
  f.shared = f.shared || f.packed;
  return f;
}
constexpr int kForms = 1 << 7;

// One product with gaps between the rows of all matrices, which must be left alone.
class Product {
 public:
  static constexpr std::int64_t kGap = 3;
  static constexpr float kUntouched = 7.0F;

  Product(Context& cx, Sizes s, Form f) : s_(s), f_(f) {
    g_.batch = s.batch;
    g_.m = s.m;
    g_.n = s.n;
    g_.k = s.k;
    a_ = operand(cx, g_.a, s.m, s.k, f.a_transposed, s.batch, 1);
    b_ = operand(cx, g_.b, s.k, s.n, f.b_transposed, f.shared ? 1 : s.batch, 2);
    const DType type = f.narrow ? DType::kBf16 : DType::kF32;
    c_ = Tensor::empty(cx, {s.batch, s.m, s.n + kGap}, type);
    fill(cx, c_, kUntouched);
    bias_ = Tensor::empty(cx, {s.n}, DType::kF32);
    fill_uniform(cx, bias_, Rng{3, 0}, -1.0, 1.0);
    g_.c = c_.raw();
    g_.ldc = s.n + kGap;
    g_.c_dtype = type;
    g_.c_batch_stride = s.m * g_.ldc;
    g_.accumulate = f.adds;
    if (f.has_bias) g_.bias = bias_.raw();
  }

  std::vector<float> run(Context& cx) {
    Gemm g = g_;
    std::shared_ptr<cpu::PackedMatrix> packed;
    if (f_.packed && cpu::use_bf16_unit(cx)) {
      packed = cpu::pack(cx, g.b, g.k, g.n);
      g.b.packed = packed.get();
      g.b.data = nullptr;
    }
    gemm(cx, g);
    return c_.to_host<float>(cx);
  }

  std::vector<double> reference(Context& cx) const {
    const auto a = a_.to_host<double>(cx), b = b_.to_host<double>(cx);
    const auto bias = bias_.to_host<double>(cx);
    std::vector<double> c(static_cast<std::size_t>(s_.batch * s_.m * g_.ldc), kUntouched);
    for (std::int64_t at = 0; at < s_.batch; ++at) {
      for (std::int64_t i = 0; i < s_.m; ++i) {
        for (std::int64_t j = 0; j < s_.n; ++j) {
          double sum = (f_.adds ? kUntouched : 0.0) +
                       (f_.has_bias ? bias[static_cast<std::size_t>(j)] : 0.0);
          for (std::int64_t l = 0; l < s_.k; ++l)
            sum += element(a, g_.a, at, i, l) * element(b, g_.b, at, l, j);
          c[static_cast<std::size_t>((at * s_.m + i) * g_.ldc + j)] = sum;
        }
      }
    }
    return c;
  }

  Tensor& a() { return a_; }
  Tensor& b() { return b_; }

 private:
  static Tensor operand(Context& cx, GemmOperand& x, std::int64_t rows, std::int64_t cols,
                        bool transposed, std::int64_t batch, std::uint64_t seed) {
    const std::int64_t lines = transposed ? cols : rows, length = transposed ? rows : cols;
    const Tensor wide = Tensor::empty(cx, {batch, lines, length + kGap}, DType::kF32);
    fill_uniform(cx, wide, Rng{seed, 0}, -1.0, 1.0);
    const Tensor t = cast(cx, wide, DType::kBf16);
    x = {t.raw(), length + kGap, transposed, DType::kBf16,
         batch == 1 ? 0 : lines * (length + kGap)};
    return t;
  }
  static double element(const std::vector<double>& v, const GemmOperand& x, std::int64_t batch,
                        std::int64_t row, std::int64_t col) {
    const std::int64_t at = x.transposed ? col * x.ld + row : row * x.ld + col;
    return v[static_cast<std::size_t>(batch * x.batch_stride + at)];
  }

  Sizes s_;
  Form f_;
  Tensor a_, b_, c_, bias_;
  Gemm g_;
};

class Bf16Products : public testing::TestWithParam<Sizes> {};

TEST_P(Bf16Products, AgreeWithDoubleLoopsInEveryForm) {
  const Sizes s = GetParam();
  for (const cpu::Bf16Path path : cpu::bf16_paths()) {
    const test::OnBf16Path on(path);
    for (int bits = 0; bits < kForms; ++bits) {
      const Form f = form_of(bits);
      Product p(on.cx, s, f);
      const std::vector<double> want = p.reference(on.cx);
      const std::vector<float> got = p.run(on.cx);
      const double rel = test::tolerance(f.narrow ? DType::kBf16 : DType::kF32, s.k);
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t i = 0; i < want.size(); ++i)
        ASSERT_TRUE(test::agrees(got[i], want[i], rel, std::sqrt(static_cast<double>(s.k))))
            << name_of(path) << ", form " << bits << ", element " << i << ": " << got[i]
            << " instead of " << want[i];
    }
  }
}

TEST_P(Bf16Products, BitsDoNotDependOnTheNumberOfThreads) {
  const int before = thread_count();
  for (const cpu::Bf16Path path : cpu::bf16_paths()) {
    const test::OnBf16Path on(path);
    for (const int bits : {0, 1, 4, 6, 9, 36}) {
      std::vector<float> first;
      for (const int threads : {1, 2, 3}) {
        set_thread_count(threads);
        Product p(on.cx, GetParam(), form_of(bits));
        const std::vector<float> now = p.run(on.cx);
        if (threads == 1) first = now;
        EXPECT_EQ(std::memcmp(now.data(), first.data(), now.size() * sizeof(float)), 0)
            << name_of(path) << ", " << threads << " threads, form " << bits;
      }
    }
  }
  set_thread_count(before);
}

// 7 and 65 end after whole blocks, 33 and 769 are odd; 400 rows are cut into tiles, 1600 columns
// too, and 1537 of k into three parts.
INSTANTIATE_TEST_SUITE_P(All, Bf16Products,
                         testing::Values(Sizes{1, 1, 1, 1}, Sizes{3, 7, 65, 2},
                                         Sizes{2, 13, 33, 33}, Sizes{1, 400, 20, 18},
                                         Sizes{1, 3, 1600, 5}, Sizes{1, 6, 64, 1537},
                                         Sizes{2, 13, 70, 769}));

// [a0, a1, 1] x [b0, b1, 0] transposed.
float product_of(cpu::Bf16Path path, float a0, float b0, float a1, float b1) {
  const test::OnBf16Path on(path);
  const std::vector<Bf16> a{Bf16(a0), Bf16(a1), Bf16(1.0F)}, b{Bf16(b0), Bf16(b1), Bf16(0.0F)};
  float c = 0.0F;
  Gemm g;
  g.m = g.n = 1;
  g.k = 3;
  g.a = {a.data(), 3, false, DType::kBf16};
  g.b = {b.data(), 1, false, DType::kBf16};
  g.c = &c;
  g.ldc = 1;
  gemm(on.cx, g);
  return c;
}

TEST(Bf16Edges, InfinitiesAndNaNAreThoseOfF32) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
  for (const cpu::Bf16Path path : cpu::bf16_paths()) {
    SCOPED_TRACE(name_of(path));
    EXPECT_EQ(product_of(path, kInf, 2.0F, 1.0F, 1.0F), kInf);
    EXPECT_EQ(product_of(path, -kInf, 2.0F, 1.0F, 1.0F), -kInf);
    EXPECT_TRUE(std::isnan(product_of(path, kInf, 0.0F, 1.0F, 1.0F)));
    EXPECT_TRUE(std::isnan(product_of(path, kInf, 1.0F, -kInf, 1.0F)));
    EXPECT_TRUE(std::isnan(product_of(path, kNaN, 0.0F, 1.0F, 1.0F)));
    EXPECT_EQ(product_of(path, 0x1p100F, 0x1p100F, 1.0F, 1.0F), kInf) << "too large for f32";
    EXPECT_EQ(product_of(path, 0x1p-60F, 0x1p-60F, 3.0F, 0.5F), 1.5F);
    EXPECT_EQ(product_of(path, 0x1p-120F, 0x1p100F, 0.0F, 0.0F), 0x1p-20F);
  }
}

// 1 + 2^-8 lies halfway between two bf16 numbers, and only together with the bias beyond it.
TEST(Bf16Edges, ABiasIsAddedBeforeTheResultIsRounded) {
  for (const cpu::Bf16Path path : cpu::bf16_paths()) {
    const test::OnBf16Path on(path);
    const std::vector<Bf16> x{Bf16(1.0F), Bf16(0x1p-4F)};
    const float bias = 0x1p-9F;
    Bf16 c;
    Gemm g;
    g.m = g.n = 1;
    g.k = 2;
    g.a = {x.data(), 2, false, DType::kBf16};
    g.b = {x.data(), 2, true, DType::kBf16};
    g.c = &c;
    g.ldc = 1;
    g.c_dtype = DType::kBf16;
    g.bias = &bias;
    gemm(on.cx, g);
    EXPECT_EQ(static_cast<float>(c), 1.0F + 0x1p-7F) << name_of(path);
  }
}

// f32 keeps numbers below the normal range, AVX512_BF16 takes them as zero (bf16_dot.h), and of
// oneDNN's kernels it depends on the processor.
TEST(Bf16Edges, NumbersBelowTheNormalRangeAreKeptOrZero) {
  for (const cpu::Bf16Path path : cpu::bf16_paths()) {
    SCOPED_TRACE(name_of(path));
    const float input = product_of(path, 0x1p-130F, 0x1p100F, 0.0F, 0.0F);
    const float result = product_of(path, 0x1p-70F, 0x1p-60F, 0.0F, 0.0F);
    const bool zero = path == cpu::Bf16Path::kAvx512, kept = path == cpu::Bf16Path::kWiden;
    EXPECT_TRUE((input == 0.0F && !kept) || (input == 0x1p-30F && !zero)) << input;
    EXPECT_TRUE((result == 0.0F && !kept) || (result == 0x1p-130F && !zero)) << result;
  }
}

}  // namespace
}  // namespace gradwire
