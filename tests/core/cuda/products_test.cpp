// Matrix products and attention on CUDA against the CPU.
#include "core/error.h"
#include "core/ops/attention/attention.h"
#include "core/ops/linear/gemm.h"
#include "core/ops/linear/linear.h"
#include "tests/core/cuda/fixture.h"
#include "tests/support/op_cases.h"
#include "tests/support/tolerance.h"

namespace gradwire::test {
namespace {

constexpr DType kFloats[] = {DType::kF64, DType::kF32, DType::kBf16};

struct Problem {
  std::int64_t batch, m, n, k;
  bool a_transposed, b_transposed, b_shared, accumulate, with_bias;
};

class CudaProducts : public CudaTest {
 protected:
  Tensor uniform(const Shape& shape, DType type, std::uint64_t seed) {
    const Tensor t = Tensor::empty(cpu, shape, DType::kF32);
    fill_uniform(cpu, t, Rng{seed, 0}, -1.0, 1.0);
    return cast(cpu, t, type);
  }

  static GemmOperand operand(const Tensor& t, bool transposed, bool shared) {
    return {t.raw(), t.dim(-1), transposed, t.dtype(), shared ? 0 : t.dim(1) * t.dim(2)};
  }

  // Rows of every operand are three elements longer than the product uses.
  void expect_same(const Problem& p, DType a_type, DType b_type, DType c_type) {
    constexpr std::int64_t kGap = 3;
    const auto stored = [](std::int64_t batch, std::int64_t rows, std::int64_t cols,
                           bool transposed) {
      return transposed ? Shape{batch, cols, rows + kGap} : Shape{batch, rows, cols + kGap};
    };
    const Tensor a = uniform(stored(p.batch, p.m, p.k, p.a_transposed), a_type, 1);
    const Tensor b = uniform(stored(p.b_shared ? 1 : p.batch, p.k, p.n, p.b_transposed), b_type, 2);
    const bool narrowed = c_type == DType::kBf16 && (a_type != c_type || b_type != c_type);
    const Tensor c = uniform({p.batch, p.m, p.n + (narrowed ? 0 : kGap)}, c_type, 3);
    const Tensor bias = uniform({p.n}, c_type == DType::kF64 ? c_type : DType::kF32, 4);
    const Tensor cuda_c = on_cuda(c);
    const auto run = [&](Context& cx, const Tensor& left, const Tensor& right, const Tensor& out,
                         const Tensor& row) {
      gemm(cx, {.batch = p.batch,
                .m = p.m,
                .n = p.n,
                .k = p.k,
                .a = operand(left, p.a_transposed, false),
                .b = operand(right, p.b_transposed, p.b_shared),
                .c = out.raw(),
                .ldc = out.dim(2),
                .c_dtype = c_type,
                .c_batch_stride = out.dim(1) * out.dim(2),
                .accumulate = p.accumulate,
                .bias = p.with_bias ? row.raw() : nullptr});
    };
    run(cpu, a, b, c, bias);
    run(cuda, on_cuda(a), on_cuda(b), cuda_c, on_cuda(bias));
    EXPECT_EQ(
        difference(cuda_c.to_host<double>(cuda), c.to_host<double>(cpu), tolerance(c_type, p.k)),
        "")
        << name_of(a_type) << " " << name_of(b_type) << " " << name_of(c_type) << ": " << p.batch
        << " x " << p.m << " " << p.n << " " << p.k << " transposed " << p.a_transposed
        << p.b_transposed;
  }
};

TEST_F(CudaProducts, AgreeWithTheCpuInEveryLayoutAndType) {
  for (const auto& [batch, m, n, k] : {std::array<std::int64_t, 4>{1, 1, 1, 1},
                                       {1, 7, 5, 3},
                                       {3, 33, 65, 17},
                                       {2, 64, 128, 96},
                                       {1, 3, 4, 0}}) {
    for (const bool a_transposed : {false, true}) {
      for (const bool b_transposed : {false, true}) {
        const Problem plain{batch, m, n, k, a_transposed, b_transposed, false, false, false};
        Problem with_bias = plain, adding = plain, shared = plain;
        with_bias.with_bias = true;
        adding.accumulate = true;
        shared.b_shared = true;
        for (const DType type : kFloats) {
          for (const Problem& p : {plain, with_bias, shared})
            expect_same(p, type, type, type);
        }
        expect_same(adding, DType::kF64, DType::kF64, DType::kF64);
        expect_same(adding, DType::kF32, DType::kF32, DType::kF32);
        expect_same(adding, DType::kBf16, DType::kBf16, DType::kF32);
        expect_same(plain, DType::kBf16, DType::kF32, DType::kF32);
        expect_same(with_bias, DType::kF32, DType::kBf16, DType::kBf16);
        expect_same(plain, DType::kF32, DType::kF32, DType::kBf16);
      }
    }
  }
}

TEST_F(CudaProducts, NarrowingIntoAGapIsRefused) {
  const Tensor a = on_cuda(uniform({4, 4}, DType::kF32, 1));
  const Tensor c = on_cuda(uniform({4, 5}, DType::kBf16, 2));
  Gemm g{.m = 4,
         .n = 4,
         .k = 4,
         .a = {a.raw(), 4},
         .b = {a.raw(), 4},
         .c = c.raw(),
         .ldc = 5,
         .c_dtype = DType::kBf16};
  EXPECT_THROW(gemm(cuda, g), Error);
}

// 1 + 2^-8 lies halfway between two bf16 numbers, and only together with the bias beyond it.
TEST_F(CudaProducts, ABiasIsAddedBeforeTheResultIsRounded) {
  const Tensor x = Tensor::zeros(cpu, {2, 8, 8}, DType::kBf16);
  for (std::int64_t i = 0; i < x.numel(); i += 8) {
    x.data<Bf16>()[i] = Bf16(1.0F);
    x.data<Bf16>()[i + 1] = Bf16(0x1p-4F);
  }
  const Tensor bias = Tensor::empty(cpu, {8}, DType::kF32);
  fill(cpu, bias, 0x1p-9);
  const Tensor a = on_cuda(x), row = on_cuda(bias);
  const Tensor c = on_cuda(Tensor::zeros(cpu, {2, 8, 11}, DType::kBf16));
  gemm(cuda, {.batch = 2,
              .m = 8,
              .n = 8,
              .k = 8,
              .a = operand(a, false, false),
              .b = operand(a, true, false),
              .c = c.raw(),
              .ldc = 11,
              .c_dtype = DType::kBf16,
              .c_batch_stride = 88,
              .bias = row.raw()});
  const std::vector<float> got = c.to_host<float>(cuda);
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_EQ(got[i], i % 11 < 8 ? 1.0F + 0x1p-7F : 0.0F) << i;
}

// A parameter is f32 while x is bf16: the product rounds it, and again once its value changed.
TEST_F(CudaProducts, LinearAgreesWithTheCpuAndFollowsItsWeight) {
  for (const DType type : kFloats) {
    const DType wide = type == DType::kF64 ? DType::kF64 : DType::kF32;
    const Tensor x = uniform({2, 9, 24}, type, 1), w = uniform({40, 24}, wide, 2),
                 b = uniform({40}, wide, 3);
    const auto run = [&](Context& cx, const std::vector<Tensor>& t) {
      std::vector<std::vector<double>> all;
      Parameter weight, bias;
      weight.name = "w";
      weight.value = t[1];
      bias.name = "b";
      bias.value = t[2];
      for (int round = 0; round < 2; ++round) {
        Tape tape;
        const Var in = tape.input(t[0]);
        const Var y = linear(cx, tape, in, tape.param(weight), tape.param(bias));
        all.push_back(tape.value(y).to_host<double>(cx));
        const Tensor ones = Tensor::empty(cx, tape.value(y).shape(), type);
        fill(cx, ones, 1.0);
        tape.backward(cx, y, ones);
        all.push_back(tape.grad(in).to_host<double>(cx));
        all.push_back(weight.grad.to_host<double>(cx));  // the second round adds to the first
        all.push_back(bias.grad.to_host<double>(cx));
        scale(cx, weight.value, 1.5);
        ++weight.version;
      }
      return all;
    };
    const std::vector<Tensor> copies = on_cuda(std::vector{x, w, b});  // running changes the weight
    const auto want = run(cpu, {x, w, b}), got = run(cuda, copies);
    for (std::size_t i = 0; i < want.size(); ++i)
      EXPECT_EQ(difference(got[i], want[i], tolerance(type, 40)), "") << name_of(type) << " " << i;
  }
}

TEST_F(CudaProducts, AttentionAgreesWithTheCpu) {
  struct Case {
    std::int64_t batch, queries, keys, width;
    AttentionOptions options;
  };
  const std::vector<Case> cases{
      {2, 5, 5, 4, {.heads = 2, .kv_heads = 2}},
      {1, 70, 70, 16, {.heads = 4, .kv_heads = 2}},
      {2, 33, 47, 8, {.heads = 6, .kv_heads = 1, .causal = false, .scale = 0.3}},
      {3, 1, 40, 8, {.heads = 4, .kv_heads = 2, .query_start = 39}},
      {1, 9, 300, 8, {.heads = 2, .kv_heads = 2, .query_start = 280}}};
  for (const Case& c : cases) {
    for (const DType type : kFloats) {
      const std::vector<Tensor> inputs{
          uniform({c.batch, c.queries, c.options.heads * c.width}, type, 1),
          uniform({c.batch, c.keys, c.options.kv_heads * c.width}, type, 2),
          uniform({c.batch, c.keys, c.options.kv_heads * c.width}, type, 3)};
      OpCase op;
      op.build = [&](Context& cx, Tape& t, std::span<const Var> v) {
        return attention(cx, t, v[0], v[1], v[2], c.options);
      };
      const OpResult want = run_case(cpu, op, inputs, true);
      const OpResult got = run_case(cuda, op, on_cuda(inputs), true);
      const double rel = tolerance(type, c.keys + c.queries * c.options.heads / c.options.kv_heads);
      EXPECT_EQ(difference(got.output, want.output, rel), "") << name_of(type) << " " << c.queries;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        EXPECT_EQ(difference(got.gradients[i], want.gradients[i], rel), "")
            << name_of(type) << " " << c.queries << ", input " << i;
      }
    }
  }
}

}  // namespace
}  // namespace gradwire::test
