#include <algorithm>

#include <cblas.h>
#include <dnnl.h>
#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/linear/block_gemm.h"
#if defined(_OPENMP)
#include <omp.h>
#endif

namespace gradwire::cpu {
namespace {

// Libraries leave c alone if there is nothing to add up.
template <class T>
bool empty_product(BlockShape s, T beta, Block<T> c) {
  if (s.k > 0 && s.m > 0 && s.n > 0) return false;
  for (std::int64_t i = 0; i < s.m && beta == T(0); ++i) {
    std::fill_n(c.data + i * c.ld, s.n, T(0));
  }
  return true;
}

}  // namespace

#if defined(_OPENMP)
SingleThreadScope::SingleThreadScope() : before_(omp_get_max_threads()) {
  omp_set_num_threads(1);
}
SingleThreadScope::~SingleThreadScope() {
  omp_set_num_threads(before_);
}
#else
SingleThreadScope::SingleThreadScope() : before_(1) {}
SingleThreadScope::~SingleThreadScope() = default;
#endif

void block_gemm(BlockShape s, Block<const float> a, Block<const float> b, float beta,
                Block<float> c) {
  if (empty_product(s, beta, c)) return;
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', s.m, s.n, s.k, 1.0F, a.data,
                 a.ld, b.data, b.ld, beta, c.data, c.ld);
  if (status != dnnl_success) {
    throw Error(ErrorKind::kInternal, fmt::format("dnnl_sgemm [{}, {}] x [{}, {}]: status {}", s.m,
                                                  s.k, s.k, s.n, static_cast<int>(status)));
  }
}

void block_gemm(BlockShape s, Block<const double> a, Block<const double> b, double beta,
                Block<double> c) {
  if (empty_product(s, beta, c)) return;
  // Its threads are set for the whole process: once, and before any of them is at work.
  [[maybe_unused]] static const bool single_threaded = (openblas_set_num_threads(1), true);
  const auto dim = [](std::int64_t x) { return static_cast<blasint>(x); };
  cblas_dgemm(CblasRowMajor, a.transposed ? CblasTrans : CblasNoTrans,
              b.transposed ? CblasTrans : CblasNoTrans, dim(s.m), dim(s.n), dim(s.k), 1.0, a.data,
              dim(a.ld), b.data, dim(b.ld), beta, c.data, dim(c.ld));
}

}  // namespace gradwire::cpu
