#include <algorithm>
#include <atomic>

#include "core/dispatch.h"
#include "core/ops/axis.h"
#include "core/ops/reduce/reduce_kernels.h"
#include "core/parallel_for.h"

namespace gradwire::cpu {
namespace {

constexpr std::int64_t kGrain = std::int64_t{1} << 15;  // elements
constexpr std::int64_t kColumns = 1024;                 // accumulators that stay in the first cache
constexpr std::int64_t kFewestRows = 64;  // per partial sum: partials are a small part of the input

std::byte* at(const Tensor& t, std::int64_t i) {
  return static_cast<std::byte*>(t.raw()) + static_cast<std::size_t>(i) * size_of(t.dtype());
}

std::int64_t chunks_of(std::int64_t n, std::int64_t size) {
  return (n + size - 1) / size;
}

// Sums of contiguous chunks of at most kGrain elements, one double each, added in order.
template <class Kernel>
double sum_in_chunks(Context& cx, const Tensor& x, Kernel kernel) {
  const std::int64_t n = x.numel();
  Context scratch = cx.in(Segment::kScratch);
  const Tensor partial = Tensor::empty(scratch, {chunks_of(n, kGrain)}, DType::kF64);
  double* sums = partial.data<double>();
  parallel_for(n, kGrain,
               [&](std::int64_t b, std::int64_t e) { sums[b / kGrain] = kernel(at(x, b), e - b); });
  double total = 0.0;
  for (std::int64_t c = 0; c < partial.numel(); ++c)
    total += sums[c];
  return total;
}

template <class C>
void put(const Tensor& out, std::int64_t i, double sum, float beta) {
  C& place = out.data<C>()[i];
  place = static_cast<C>(sum + (beta == 0.0F ? 0.0 : static_cast<double>(place)));
}

void put(const Tensor& out, std::int64_t i, double sum, float beta) {
  if (out.dtype() == DType::kF64) return put<double>(out, i, sum, beta);
  put<float>(out, i, sum, beta);
}

// Sums of rows: inner is 1.
void sum_contiguous(Context& cx, const Tensor& out, const Tensor& x, const Axis& axis, float beta) {
  const auto kernel = reduce_kernels().sum[float_index(x.dtype())];
  if (axis.outer == 1) return put(out, 0, sum_in_chunks(cx, x, kernel), beta);
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, axis.length));
  parallel_for(axis.outer, grain, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t o = b; o < e; ++o) {
      put(out, o, kernel(at(x, o * axis.length), axis.length), beta);
    }
  });
}

// How [outer, length, inner] is cut: `chunks` of `rows` along the length, strips of kColumns.
struct Cut {
  std::int64_t rows, chunks, strips;
};

Cut cut(const Axis& axis) {
  const std::int64_t strips = chunks_of(axis.inner, kColumns);
  const bool enough = axis.outer * strips >= kFewestRows;
  const std::int64_t rows =
      enough ? axis.length
             : std::max({kFewestRows, kGrain / axis.inner, chunks_of(axis.length, kFewestRows)});
  return {std::max<std::int64_t>(1, rows), std::max<std::int64_t>(1, chunks_of(axis.length, rows)),
          strips};
}

template <class C>
void combine(const Tensor& out, const Tensor& partial, const Axis& axis, const Cut& c, float beta) {
  C* to = out.data<C>();
  const C* from = partial.data<C>();
  parallel_for(axis.outer * axis.inner, kColumns, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t i = b; i < e; ++i) {
      const C* first = from + i / axis.inner * c.chunks * axis.inner + i % axis.inner;
      C sum = beta == 0.0F ? C(0) : to[i];
      for (std::int64_t k = 0; k < c.chunks; ++k)
        sum += first[k * axis.inner];
      to[i] = sum;
    }
  });
}

}  // namespace

void sum_axis(Context& cx, const Tensor& out, const Tensor& x, const Axis& axis, float beta) {
  if (out.numel() == 0) return;
  if (axis.inner == 1) return sum_contiguous(cx, out, x, axis, beta);
  const auto kernel = reduce_kernels().sum_rows[float_index(x.dtype())];
  const Cut c = cut(axis);
  Context scratch = cx.in(Segment::kScratch);
  const bool direct = c.chunks == 1 && beta == 0.0F;
  const Tensor partial =
      direct ? out : Tensor::empty(scratch, {axis.outer, c.chunks, axis.inner}, out.dtype());
  const std::int64_t unit = c.rows * std::min(axis.inner, kColumns);
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / unit);
  parallel_for(axis.outer * c.chunks * c.strips, grain, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t u = b; u < e; ++u) {
      const std::int64_t column = u % c.strips * kColumns;
      const std::int64_t o = u / c.strips / c.chunks, row = u / c.strips % c.chunks * c.rows;
      void* acc = at(partial, u / c.strips * axis.inner + column);
      kernel(acc, at(x, (o * axis.length + row) * axis.inner + column),
             std::min(c.rows, axis.length - row), axis.inner,
             std::min(kColumns, axis.inner - column));
    }
  });
  if (direct) return;
  if (out.dtype() == DType::kF64) return combine<double>(out, partial, axis, c, beta);
  combine<float>(out, partial, axis, c, beta);
}

void spread_axis(const Tensor& y, const Tensor& x, const Axis& axis, double factor) {
  const auto& kernels = reduce_kernels();
  const std::size_t type = float_index(y.dtype());
  std::byte* out = static_cast<std::byte*>(y.raw());
  const std::size_t size = size_of(y.dtype());
  if (axis.inner == 1) {
    const auto value_at = [&](std::int64_t o) {
      return x.dtype() == DType::kF64 ? x.data<double>()[o]
                                      : static_cast<double>(x.data<float>()[o]);
    };
    parallel_for(y.numel(), kGrain, [&](std::int64_t b, std::int64_t e) {
      for (std::int64_t i = b; i < e;) {
        const std::int64_t o = i / axis.length;
        const std::int64_t end = std::min(e, (o + 1) * axis.length);
        kernels.set[type](out + static_cast<std::size_t>(i) * size, factor * value_at(o), end - i);
        i = end;
      }
    });
    return;
  }
  const std::int64_t grain =
      std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(1, axis.inner));
  parallel_for(axis.outer * axis.length, grain, [&](std::int64_t b, std::int64_t e) {
    for (std::int64_t r = b; r < e; ++r) {
      kernels.spread[type](out + static_cast<std::size_t>(r * axis.inner) * size,
                           at(x, r / axis.length * axis.inner), factor, axis.inner);
    }
  });
}

double sum_of_squares(Context& cx, const Tensor& x) {
  return sum_in_chunks(cx, x, reduce_kernels().sum_of_squares[float_index(x.dtype())]);
}

bool all_finite(const Tensor& x) {
  const auto kernel = reduce_kernels().all_finite[float_index(x.dtype())];
  std::atomic<bool> finite = true;
  parallel_for(x.numel(), kGrain, [&](std::int64_t b, std::int64_t e) {
    if (finite.load(std::memory_order_relaxed) && !kernel(at(x, b), e - b)) finite = false;
  });
  return finite;
}

}  // namespace gradwire::cpu
