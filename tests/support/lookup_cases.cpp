#include "core/ops/dropout/dropout.h"
#include "core/ops/embedding/embedding.h"
#include "tests/support/op_cases.h"

namespace gradwire::test {
namespace {

std::vector<std::int32_t> ids_of(const Shape& shape, std::int64_t rows) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    ids.push_back(static_cast<std::int32_t>((5 * i * i + 2) % rows));  // many repeat
  }
  return ids;
}

OpCase embedding_case(const char* suffix, const Shape& table, const Shape& ids_shape) {
  const auto ids = ids_of(ids_shape, table[0]);
  OpCase c;
  c.op = "embedding";
  c.name = c.op + suffix;
  c.inputs = {{.shape = table, .weight = true}};
  c.reduction = ids_shape.numel();
  c.build = [=](Context& cx, Tape& t, std::span<const Var> x) {
    return embedding(cx, t, x[0], Tensor::from(cx, ids_shape, ids), t.value(x[0]).dtype());
  };
  c.reference = [=, width = table[1]](const Values& x) {
    std::vector<double> y;
    for (const std::int32_t id : ids) {
      for (std::int64_t j = 0; j < width; ++j) {
        y.push_back(x[0][static_cast<std::size_t>(id * width + j)]);
      }
    }
    return y;
  };
  return c;
}

OpCase dropout_case(const char* suffix, const Shape& shape, double p) {
  OpCase c;
  c.op = "dropout";
  c.name = c.op + suffix;
  c.inputs = {{.shape = shape}};
  constexpr Rng kRng{.seed = 5, .offset = 8};
  c.build = [p, kRng](Context& cx, Tape& t, std::span<const Var> x) {
    cx.rng = kRng;
    return dropout(cx, t, x[0], p);
  };
  c.reference = [p, kRng](const Values& x) {
    std::vector<double> y;
    for (std::size_t i = 0; i < x[0].size(); ++i) {
      const bool dropped = to_uniform(random_word(kRng.seed, kRng.offset + i)) < p;
      y.push_back(dropped ? 0.0 : x[0][i] / (1.0 - p));
    }
    return y;
  };
  return c;
}

}  // namespace

std::vector<OpCase> lookup_cases() {
  return {embedding_case("", {7, 5}, {2, 6}),
          embedding_case("_large", {50, 200}, {400}),
          embedding_case("_frequent", {3, 7}, {333}),
          embedding_case("_single", {1, 3}, {97}),
          dropout_case("", {6, 31}, 0.25),
          dropout_case("_large", {60007}, 0.9)};
}

}  // namespace gradwire::test
