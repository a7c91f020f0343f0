#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include <cublasLt.h>

#include <fmt/format.h>

#include "core/cuda/check.h"
#include "core/error.h"
#include "core/ops/linear/gemm_kernels.h"
#include "core/tensor.h"
#include "core/tensor_kernels.h"

namespace gradwire::cuda {
namespace {

void blas_check(cublasStatus_t status, const char* what,
                std::source_location at = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(status == CUBLAS_STATUS_ALLOC_FAILED ? ErrorKind::kMemory : ErrorKind::kDevice,
              fmt::format("gemm: {}: {}", what, cublasLtGetStatusString(status)), at);
}

// What cuBLASLt hands out, given back by the function it names.
template <class T, cublasStatus_t (*kDestroy)(T)>
struct Destroy {
  using pointer = T;
  void operator()(T handle) const { kDestroy(handle); }
};
using Handle = std::unique_ptr<cublasLtHandle_t, Destroy<cublasLtHandle_t, cublasLtDestroy>>;
using Description =
    std::unique_ptr<cublasLtMatmulDesc_t, Destroy<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>>;
using Layout = std::unique_ptr<cublasLtMatrixLayout_t,
                               Destroy<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>>;
using Preference =
    std::unique_ptr<cublasLtMatmulPreference_t,
                    Destroy<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>>;

// cuBLASLt counts columns first: a row-major matrix is its own transpose there. So the product
// c = op(a) op(b) is asked for as c^T = op(b)^T op(a)^T, with b as the first operand.
struct Plan {
  Description product;
  Layout first, second, result;
  cublasLtMatmulAlgo_t algorithm{};
  std::size_t workspace_bytes = 0;
  bool exists = false;  // cuBLASLt has an algorithm for it
};

using Key = std::array<std::int64_t, 18>;

// Batches of many lengths ask for as many plans: beyond this number they are made anew.
constexpr std::size_t kMostPlans = 4096;

struct Plans {
  Handle handle;
  std::map<Key, Plan> of;
};

cudaDataType_t type_of(DType t) {
  return t == DType::kF64 ? CUDA_R_64F : t == DType::kF32 ? CUDA_R_32F : CUDA_R_16BF;
}

std::uint32_t alignment_of(const void* p) {
  constexpr std::uintptr_t kMost = 256;
  const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(p) | kMost;
  return std::uint32_t{1} << std::countr_zero(address);
}

Key key_of(const Gemm& g) {
  const auto n = [](auto x) { return static_cast<std::int64_t>(x); };
  return {g.batch,
          g.m,
          g.n,
          g.k,
          g.a.ld,
          g.a.batch_stride,
          n(g.a.transposed),
          n(g.a.dtype),
          n(alignment_of(g.a.data)),
          g.b.ld,
          g.b.batch_stride,
          n(g.b.transposed),
          n(g.b.dtype),
          n(alignment_of(g.b.data)),
          g.ldc,
          g.c_batch_stride,
          n(g.c_dtype),
          n(alignment_of(g.c))};
}

template <class Value>
void set(const Layout& layout, cublasLtMatrixLayoutAttribute_t attribute, Value value) {
  blas_check(cublasLtMatrixLayoutSetAttribute(layout.get(), attribute, &value, sizeof value),
             "describe a matrix");
}
template <class Value>
void set(const Description& product, cublasLtMatmulDescAttributes_t attribute, Value value) {
  blas_check(cublasLtMatmulDescSetAttribute(product.get(), attribute, &value, sizeof value),
             "describe a product");
}
template <class Value>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute,
         Value value) {
  blas_check(
      cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value),
      "state a preference");
}

struct Stored {
  DType dtype;
  std::int64_t rows, cols, ld;  // row-major
  std::int64_t batch, batch_stride;
};

Layout layout_of(const Stored& s) {
  cublasLtMatrixLayout_t raw = nullptr;
  blas_check(cublasLtMatrixLayoutCreate(&raw, type_of(s.dtype), static_cast<std::uint64_t>(s.cols),
                                        static_cast<std::uint64_t>(s.rows), s.ld),
             "create a matrix layout");
  Layout layout(raw);
  set(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, static_cast<std::int32_t>(s.batch));
  set(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, s.batch_stride);
  return layout;
}

Layout layout_of(const GemmOperand& x, std::int64_t rows, std::int64_t cols, std::int64_t batch) {
  if (x.transposed) std::swap(rows, cols);
  return layout_of({x.dtype, rows, cols, x.ld, batch, x.batch_stride});
}

void choose_algorithm(cublasLtHandle_t handle, const Gemm& g, Plan& plan) {
  constexpr std::uint64_t kMostWorkspaceBytes = std::uint64_t{32} << 20;
  cublasLtMatmulPreference_t raw = nullptr;
  blas_check(cublasLtMatmulPreferenceCreate(&raw), "create a preference");
  const Preference preference(raw);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, kMostWorkspaceBytes);
  // If k is split, parts are added in f32 (f64) in a fixed order.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(g.b.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(g.a.data));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(g.c));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(g.c));
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
      handle, plan.product.get(), plan.first.get(), plan.second.get(), plan.result.get(),
      plan.result.get(), preference.get(), 1, &found, &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && count == 0)) {
    return;
  }
  blas_check(status, "choose an algorithm");
  plan.exists = true;
  plan.algorithm = found.algo;
  plan.workspace_bytes = found.workspaceSize;
}

Plan make_plan(cublasLtHandle_t handle, const Gemm& g) {
  const bool wide = g.c_dtype == DType::kF64;
  Plan plan;
  cublasLtMatmulDesc_t raw = nullptr;
  // Full f32: TF32 would keep ten bits of the factors.
  blas_check(cublasLtMatmulDescCreate(&raw, wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                                      wide ? CUDA_R_64F : CUDA_R_32F),
             "create a product");
  plan.product.reset(raw);
  set(plan.product, CUBLASLT_MATMUL_DESC_TRANSA, g.b.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(plan.product, CUBLASLT_MATMUL_DESC_TRANSB, g.a.transposed ? CUBLAS_OP_T : CUBLAS_OP_N);
  plan.first = layout_of(g.b, g.k, g.n, g.batch);
  plan.second = layout_of(g.a, g.m, g.k, g.batch);
  plan.result = layout_of({g.c_dtype, g.m, g.n, g.ldc, g.batch, g.c_batch_stride});
  choose_algorithm(handle, g, plan);
  return plan;
}

const Plan& plan_of(Context& cx, const Gemm& g) {
  Plans& plans = cx.engine->slot<Plans>();
  if (!plans.handle) {
    cublasLtHandle_t raw = nullptr;
    blas_check(cublasLtCreate(&raw), "create a handle");
    plans.handle.reset(raw);
  }
  const Key key = key_of(g);
  auto found = plans.of.find(key);
  if (found == plans.of.end()) {
    if (plans.of.size() == kMostPlans) plans.of.clear();
    found = plans.of.emplace(key, make_plan(plans.handle.get(), g)).first;
  }
  return found->second;
}

// False, with nothing done, if cuBLASLt has no algorithm.
bool multiply(Context& cx, const Gemm& g) {
  const Plan& plan = plan_of(cx, g);
  if (!plan.exists) return false;
  Context scratch = cx.in(Segment::kScratch);
  const Tensor workspace =
      Tensor::empty(scratch, {static_cast<std::int64_t>(plan.workspace_bytes)}, DType::kU8);
  const float one = 1.0F, beta = g.accumulate ? 1.0F : 0.0F;
  const double wide_one = 1.0, wide_beta = g.accumulate ? 1.0 : 0.0;
  const bool wide = g.c_dtype == DType::kF64;
  cublasLtHandle_t handle = cx.engine->slot<Plans>().handle.get();
  blas_check(
      cublasLtMatmul(handle, plan.product.get(), wide ? static_cast<const void*>(&wide_one) : &one,
                     g.b.data, plan.first.get(), g.a.data, plan.second.get(),
                     wide ? static_cast<const void*>(&wide_beta) : &beta, g.c, plan.result.get(),
                     g.c, plan.result.get(), &plan.algorithm, workspace.raw(), plan.workspace_bytes,
                     handle_of(cx.stream)),
      "multiply");
  return true;
}

void multiply_or_throw(Context& cx, const Gemm& g) {
  if (multiply(cx, g)) return;
  throw Error(
      ErrorKind::kDevice,
      fmt::format("gemm: cuBLASLt has no algorithm for {} x [{}, {}] x [{}, {}] of {} and {}",
                  g.batch, g.m, g.k, g.k, g.n, name_of(g.a.dtype), name_of(g.b.dtype)));
}

// Elements from the first to the last that an operand of these stored rows touches.
std::int64_t extent(std::int64_t rows, std::int64_t cols, std::int64_t ld, std::int64_t batch,
                    std::int64_t batch_stride) {
  return (batch - 1) * batch_stride + (rows - 1) * ld + cols;
}

// A bf16 operand beside an f32 one, widened with the strides it has.
Tensor widened(Context& cx, GemmOperand& x, std::int64_t rows, std::int64_t cols,
               std::int64_t batch) {
  if (x.dtype != DType::kBf16) return {};
  if (x.transposed) std::swap(rows, cols);
  Context scratch = cx.in(Segment::kScratch);
  Tensor wide =
      Tensor::empty(scratch, {extent(rows, cols, x.ld, batch, x.batch_stride)}, DType::kF32);
  convert(cx.stream, DType::kF32, wide.raw(), DType::kBf16, x.data, wide.numel());
  x.data = wide.raw();
  x.dtype = DType::kF32;
  return wide;
}

// All in f32: for operands of two types, for f32 operands and a bf16 result, and for bf16 operands
// so laid out that cuBLASLt has no algorithm for them.
void multiply_widened(Context& cx, Gemm g) {
  const Tensor a = widened(cx, g.a, g.m, g.k, g.batch);
  const Tensor b = widened(cx, g.b, g.k, g.n, g.batch);
  if (g.c_dtype == DType::kF32) return multiply_or_throw(cx, g);
  const bool dense = g.ldc == g.n && (g.batch == 1 || g.c_batch_stride == g.m * g.n);
  check(dense, ErrorKind::kDevice,
        "gemm: no CUDA kernel for a widened product into a bf16 result with gaps between its rows");
  Context scratch = cx.in(Segment::kScratch);
  const Tensor wide = Tensor::empty(scratch, {g.batch, g.m, g.n}, DType::kF32);
  void* narrow = std::exchange(g.c, wide.raw());
  g.c_dtype = DType::kF32;
  multiply_or_throw(cx, g);
  convert(cx.stream, DType::kBf16, narrow, DType::kF32, wide.raw(), wide.numel());
}

void set_zero(Stream s, const Gemm& g) {
  const std::size_t size = size_of(g.c_dtype);
  for (std::int64_t i = 0; i < g.batch; ++i) {
    std::byte* c =
        static_cast<std::byte*>(g.c) + static_cast<std::size_t>(i * g.c_batch_stride) * size;
    cuda_check(cudaMemset2DAsync(c, static_cast<std::size_t>(g.ldc) * size, 0,
                                 static_cast<std::size_t>(g.n) * size,
                                 static_cast<std::size_t>(g.m), handle_of(s)),
               "gemm: set to zero");
  }
}

void product_of(Context& cx, const Gemm& g) {
  const bool narrow = g.a.dtype == DType::kBf16 && g.b.dtype == DType::kBf16;
  const bool same = g.a.dtype == g.b.dtype && (narrow || g.c_dtype == g.a.dtype);
  if (g.k == 0) {
    if (!g.accumulate) set_zero(cx.stream, g);
  } else if (!narrow && same) {
    multiply_or_throw(cx, g);
  } else if (!narrow || !multiply(cx, g)) {
    multiply_widened(cx, g);
  }
}

// A bf16 result with a bias: the sum of both is rounded once.
void product_and_bias(Context& cx, const Gemm& g) {
  Context scratch = cx.in(Segment::kScratch);
  const Tensor wide = Tensor::empty(scratch, {g.batch, g.m, g.n}, DType::kF32);
  Gemm product = g;
  product.c = wide.raw();
  product.c_dtype = DType::kF32;
  product.ldc = g.n;
  product.c_batch_stride = g.m * g.n;
  product_of(cx, product);
  add_bias(cx.stream, product, g);
}

}  // namespace

void gemm(Context& cx, const Gemm& g) {
  use_device(cx.stream.device);
  if (g.bias != nullptr && g.c_dtype == DType::kBf16) return product_and_bias(cx, g);
  product_of(cx, g);
  if (g.bias != nullptr) add_bias(cx.stream, g, g);
}

}  // namespace gradwire::cuda
