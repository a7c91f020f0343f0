#include "core/ops/elementwise/broadcast.h"

#include <algorithm>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/reduce/reduce.h"

namespace gradwire {
namespace {

// Dimension i of the shape written with `rank` dimensions.
std::int64_t padded(const Shape& s, int i, int rank) {
  const int own = i - (rank - s.rank());
  return own < 0 ? 1 : s[own];
}

Tensor sum_to(Context& cx, const Tensor& dy, const Broadcast& plan, const Shape& to,
              bool Broadcast::Dim::*in) {
  Tensor sum = dy;
  std::int64_t inner = 1;  // elements kept so far, from the innermost dimension outwards
  for (int i = plan.rank; i-- > 0;) {
    if (plan.dims[static_cast<std::size_t>(i)].*in) {
      inner *= plan.dims[static_cast<std::size_t>(i)].size;
      continue;
    }
    std::int64_t length = 1;
    while (i >= 0 && !(plan.dims[static_cast<std::size_t>(i)].*in)) {
      length *= plan.dims[static_cast<std::size_t>(i--)].size;
    }
    ++i;
    std::int64_t outer = 1;
    for (int k = 0; k < i; ++k)
      outer *= plan.dims[static_cast<std::size_t>(k)].size;
    sum = sum_axis(cx, sum, {outer, length, inner});
  }
  return cast(cx, sum, dy.dtype()).view(to);
}

}  // namespace

std::int64_t Broadcast::start(std::int64_t run, bool Dim::*in) const {
  std::int64_t offset = 0;
  std::int64_t stride = inner().*in ? inner().size : 1;
  for (int i = rank - 1; i-- > 0;) {
    const Dim& d = dims[static_cast<std::size_t>(i)];
    if (d.*in) {
      offset += run % d.size * stride;
      stride *= d.size;
    }
    run /= d.size;
  }
  return offset;
}

Broadcast broadcast(const char* op, const Shape& a, const Shape& b) {
  const int rank = std::max(a.rank(), b.rank());
  std::array<std::int64_t, Shape::kMaxRank> sizes{};
  Broadcast plan;
  for (int i = 0; i < rank; ++i) {
    const std::int64_t in_a = padded(a, i, rank), in_b = padded(b, i, rank);
    if (in_a != in_b && in_a != 1 && in_b != 1) {
      throw Error(ErrorKind::kShape, fmt::format("{}: shapes do not broadcast: {} and {}", op,
                                                 to_string(a), to_string(b)));
    }
    const std::int64_t size = in_a == 1 ? in_b : in_a;
    sizes[static_cast<std::size_t>(i)] = size;
    if (size == 1) continue;
    const Broadcast::Dim dim{size, in_a == size, in_b == size};
    Broadcast::Dim& last = plan.dims[static_cast<std::size_t>(std::max(0, plan.rank - 1))];
    if (plan.rank > 0 && last.in_a == dim.in_a && last.in_b == dim.in_b) {
      last.size *= size;
    } else {
      plan.dims[static_cast<std::size_t>(plan.rank++)] = dim;
    }
  }
  plan.shape = Shape(std::span(sizes.data(), static_cast<std::size_t>(rank)));
  return plan;
}

Tensor sum_to_a(Context& cx, const Tensor& dy, const Broadcast& plan, const Shape& a) {
  return sum_to(cx, dy, plan, a, &Broadcast::Dim::in_a);
}

Tensor sum_to_b(Context& cx, const Tensor& dy, const Broadcast& plan, const Shape& b) {
  return sum_to(cx, dy, plan, b, &Broadcast::Dim::in_b);
}

}  // namespace gradwire
