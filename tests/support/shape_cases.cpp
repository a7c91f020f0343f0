#include <array>

#include "core/ops/shape/shape.h"
#include "tests/support/op_cases.h"

namespace gradwire::test {
namespace {

using Index = std::array<std::int64_t, Shape::kMaxRank>;

Index index_of(const Shape& s, std::int64_t flat) {
  Index at{};
  for (int d = s.rank(); d-- > 0; flat /= s[d])
    at[static_cast<std::size_t>(d)] = flat % s[d];
  return at;
}

std::size_t flat_of(const Shape& s, const Index& at) {
  std::int64_t flat = 0;
  for (int d = 0; d < s.rank(); ++d)
    flat = flat * s[d] + at[static_cast<std::size_t>(d)];
  return static_cast<std::size_t>(flat);
}

OpCase transpose_case(const char* suffix, const Shape& shape, int a, int b) {
  OpCase c;
  c.op = "transpose";
  c.name = c.op + suffix;
  c.inputs = {{.shape = shape}};
  c.build = [a, b](Context& cx, Tape& t, std::span<const Var> x) {
    return transpose(cx, t, x[0], a, b);
  };
  c.reference = [shape, a, b](const Values& x) {
    const std::size_t d = static_cast<std::size_t>(a < 0 ? a + shape.rank() : a);
    const std::size_t e = static_cast<std::size_t>(b < 0 ? b + shape.rank() : b);
    const Shape out = shape.with(a, shape[b]).with(b, shape[a]);
    std::vector<double> y(x[0].size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      Index at = index_of(shape, static_cast<std::int64_t>(i));
      std::swap(at[d], at[e]);
      y[flat_of(out, at)] = x[0][i];
    }
    return y;
  };
  return c;
}

OpCase slice_case(const char* suffix, const Shape& shape, int dim, std::int64_t begin,
                  std::int64_t end) {
  OpCase c;
  c.op = "slice";
  c.name = c.op + suffix;
  c.inputs = {{.shape = shape}};
  c.build = [=](Context& cx, Tape& t, std::span<const Var> x) {
    return slice(cx, t, x[0], dim, begin, end);
  };
  c.reference = [=](const Values& x) {
    std::vector<double> y;
    for (std::int64_t i = 0; i < shape.numel(); ++i) {
      const std::int64_t at = index_of(shape, i)[static_cast<std::size_t>(dim)];
      if (at >= begin && at < end) y.push_back(x[0][static_cast<std::size_t>(i)]);
    }
    return y;
  };
  return c;
}

// Three parts of lengths 2, 1 and 3 along the dimension.
OpCase concat_case(const char* suffix, const Shape& shape, int dim) {
  OpCase c;
  c.op = "concat";
  c.name = c.op + suffix;
  for (const std::int64_t length : {2, 1, 3})
    c.inputs.push_back({.shape = shape.with(dim, length)});
  c.build = [dim](Context& cx, Tape& t, std::span<const Var> x) { return concat(cx, t, x, dim); };
  c.reference = [shape, dim](const Values& x) {
    const Shape out = shape.with(dim, 6);
    const std::size_t d = static_cast<std::size_t>(dim);
    std::vector<double> y;
    for (std::int64_t i = 0; i < out.numel(); ++i) {
      Index at = index_of(out, i);
      const std::size_t part = at[d] < 2 ? 0 : at[d] < 3 ? 1 : 2;
      at[d] -= part == 0 ? 0 : part == 1 ? 2 : 3;
      const std::int64_t length = part == 0 ? 2 : part == 1 ? 1 : 3;
      y.push_back(x[part][flat_of(out.with(dim, length), at)]);
    }
    return y;
  };
  return c;
}

OpCase same_values(const char* op, const Shape& shape, Build build) {
  OpCase c;
  c.op = c.name = op;
  c.inputs = {{.shape = shape}};
  c.build = std::move(build);
  c.reference = [](const Values& x) { return x[0]; };
  return c;
}

}  // namespace

std::vector<OpCase> shape_cases() {
  return {same_values("reshape", {4, 6},
                      [](Context& cx, Tape& t, std::span<const Var> x) {
                        return reshape(cx, t, x[0], {2, 3, 4});
                      }),
          same_values("cast", {5, 9},
                      [](Context& cx, Tape& t, std::span<const Var> x) {
                        // Through f64 and back: exact, so that numeric gradients stay meaningful.
                        const DType own = t.value(x[0]).dtype();
                        const Var wide = cast(cx, t, x[0], DType::kF64);
                        return cast(cx, t, wide, own);
                      }),
          transpose_case("_matrix", {35, 50}, 0, 1),
          transpose_case("_batched", {3, 7, 9}, 1, 2),
          transpose_case("_heads", {2, 5, 3, 8}, 1, 2),
          transpose_case("_apart", {4, 3, 5}, 0, -1),
          transpose_case("_large", {2, 300, 4, 64}, 1, 2),
          transpose_case("_tiled", {2, 70, 3, 131}, 1, 3),
          slice_case("_first", {6, 5}, 0, 2, 5),
          slice_case("_middle", {3, 8, 4}, 1, 3, 7),
          slice_case("_last", {7, 9}, 1, 0, 4),
          slice_case("_large", {300, 400}, 1, 100, 357),
          concat_case("_first", {1, 5}, 0),
          concat_case("_middle", {3, 1, 4}, 1),
          concat_case("_last", {4, 3, 1}, 2)};
}

}  // namespace gradwire::test
