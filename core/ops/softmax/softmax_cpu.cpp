#include <algorithm>

#include "core/dispatch.h"
#include "core/ops/softmax/softmax_kernels.h"
#include "core/parallel_for.h"
#include "core/tensor.h"

namespace gradwire::cpu {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 14;  // elements

std::byte* row(const Tensor& t, std::int64_t r) {
  return static_cast<std::byte*>(t.raw()) +
         static_cast<std::size_t>(r * t.dim(-1)) * size_of(t.dtype());
}

// f(first row, number of rows), threaded.
template <class F>
void over_rows(const Tensor& x, const F& f) {
  if (x.numel() == 0) return;
  const std::int64_t width = x.dim(-1);
  parallel_for(x.numel() / width, std::max<std::int64_t>(1, kGrain / width),
               [&](std::int64_t b, std::int64_t e) { f(b, e - b); });
}

}  // namespace

void softmax(SoftmaxKind kind, const Tensor& y, const Tensor& x) {
  const auto kernel =
      softmax_kernels().forward[static_cast<std::size_t>(kind)][float_index(x.dtype())];
  over_rows(x, [&](std::int64_t r, std::int64_t n) { kernel(row(y, r), row(x, r), n, x.dim(-1)); });
}

void softmax_grad(SoftmaxKind kind, const Tensor& dx, const Tensor& y, const Tensor& dy) {
  const auto kernel =
      softmax_kernels().backward[static_cast<std::size_t>(kind)][float_index(y.dtype())];
  over_rows(y, [&](std::int64_t r, std::int64_t n) {
    kernel(row(dx, r), row(y, r), row(dy, r), n, y.dim(-1));
  });
}

}  // namespace gradwire::cpu
