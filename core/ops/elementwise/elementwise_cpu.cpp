#include <algorithm>

#include "core/dispatch.h"
#include "core/ops/elementwise/broadcast.h"
#include "core/ops/elementwise/elementwise_kernels.h"
#include "core/parallel_for.h"

namespace gradwire::cpu {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;

// Element i of a tensor known to be of one float type.
struct Elements {
  explicit Elements(const Tensor& t)
      : data(static_cast<std::byte*>(t.raw())), size(size_of(t.dtype())) {}
  std::byte* operator+(std::int64_t i) const { return data + static_cast<std::size_t>(i) * size; }
  std::byte* data;
  std::size_t size;
};

}  // namespace

void unary(Unary which, const Tensor& y, const Tensor& x) {
  const auto kernel =
      elementwise_kernels().unary[static_cast<std::size_t>(which)][float_index(x.dtype())];
  const Elements to(y), from(x);
  parallel_for(y.numel(), kGrain,
               [&](std::int64_t b, std::int64_t e) { kernel(to + b, from + b, e - b); });
}

void unary_grad(Unary which, const Tensor& dx, const Tensor& x, const Tensor& dy) {
  const auto kernel =
      elementwise_kernels().unary_grad[static_cast<std::size_t>(which)][float_index(x.dtype())];
  const Elements to(dx), at(x), from(dy);
  parallel_for(dx.numel(), kGrain,
               [&](std::int64_t b, std::int64_t e) { kernel(to + b, at + b, from + b, e - b); });
}

void gated(Unary act, const Tensor& y, const Tensor& gate, const Tensor& up) {
  const auto kernel =
      elementwise_kernels().gated[static_cast<std::size_t>(act)][float_index(y.dtype())];
  const Elements to(y), left(gate), right(up);
  parallel_for(y.numel(), kGrain,
               [&](std::int64_t b, std::int64_t e) { kernel(to + b, left + b, right + b, e - b); });
}

void gated_grad(Unary act, const GatedGrad& g) {
  const auto kernel =
      elementwise_kernels().gated_grad[static_cast<std::size_t>(act)][float_index(g.dy.dtype())];
  const Elements dgate(g.dgate), dup(g.dup), gate(g.gate), up(g.up), dy(g.dy);
  parallel_for(g.dy.numel(), kGrain, [&](std::int64_t b, std::int64_t e) {
    kernel(dgate + b, dup + b, gate + b, up + b, dy + b, e - b);
  });
}

void scaled(const Tensor& y, const Tensor& x, double factor) {
  const auto kernel = elementwise_kernels().scaled[float_index(x.dtype())];
  const Elements to(y), from(x);
  parallel_for(y.numel(), kGrain,
               [&](std::int64_t b, std::int64_t e) { kernel(to + b, from + b, factor, e - b); });
}

void binary(BinaryOp op, const Tensor& y, const Tensor& a, const Tensor& b, const Broadcast& plan) {
  const auto& table = elementwise_kernels();
  const auto& kernels = op == BinaryOp::kAdd ? table.add : table.mul;
  const std::size_t type = float_index(y.dtype());
  const Elements to(y), left(a), right(b);
  const Broadcast::Dim inner = plan.inner();
  parallel_for(y.numel(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end;) {
      const std::int64_t run = i / inner.size, at = i % inner.size;
      const std::int64_t n = std::min(end - i, inner.size - at);
      const std::byte* x = left + (plan.start_in_a(run) + (inner.in_a ? at : 0));
      const std::byte* z = right + (plan.start_in_b(run) + (inner.in_b ? at : 0));
      if (!inner.in_a) std::swap(x, z);  // both operations commute
      kernels[inner.in_a && inner.in_b ? 0 : 1][type](to + i, x, z, n);
      i += n;
    }
  });
}

}  // namespace gradwire::cpu
