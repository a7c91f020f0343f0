#include <algorithm>
#include <cmath>

#include "core/ops/attention/attention.h"
#include "core/ops/linear/linear.h"
#include "core/ops/rope/rope.h"
#include "tests/support/op_cases.h"

namespace gradwire::test {
namespace {

std::size_t index(std::int64_t i) {
  return static_cast<std::size_t>(i);
}

OpCase linear_case(const char* suffix, const Shape& x, std::int64_t n, bool bias) {
  const std::int64_t k = x[-1], m = x.numel() / k;
  OpCase c;
  c.op = "linear";
  c.name = c.op + suffix;
  c.inputs = {{.shape = x}, {.shape = {n, k}, .weight = true}};
  if (bias) c.inputs.push_back({.shape = {n}, .weight = true});
  c.reduction = std::max({m, n, k});
  c.build = [bias](Context& cx, Tape& t, std::span<const Var> v) {
    return linear(cx, t, v[0], v[1], bias ? v[2] : Var{});
  };
  c.reference = [=](const Values& v) {
    std::vector<double> y(index(m * n));
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < n; ++j) {
        double sum = bias ? v[2][index(j)] : 0.0;
        for (std::int64_t l = 0; l < k; ++l)
          sum += v[0][index(i * k + l)] * v[1][index(j * k + l)];
        y[index(i * n + j)] = sum;
      }
    }
    return y;
  };
  return c;
}

struct Product {
  std::int64_t batch, m, n, k;
  MatmulOptions options;
  bool shared;  // b has no leading dimension
};

OpCase matmul_case(const char* suffix, Product p) {
  const bool ta = p.options.transpose_a, tb = p.options.transpose_b;
  const Shape b = tb ? Shape{p.n, p.k} : Shape{p.k, p.n};
  OpCase c;
  c.op = "matmul";
  c.name = c.op + suffix;
  c.inputs = {{.shape = ta ? Shape{p.batch, p.k, p.m} : Shape{p.batch, p.m, p.k}},
              {.shape = p.shared ? b : Shape{p.batch, b[0], b[1]}}};
  c.reduction = std::max({p.batch * p.m, p.n, p.k});
  c.build = [o = p.options](Context& cx, Tape& t, std::span<const Var> v) {
    return matmul(cx, t, v[0], v[1], o);
  };
  c.reference = [=](const Values& v) {
    std::vector<double> y;
    for (std::int64_t row = 0; row < p.batch * p.m; ++row) {
      const std::int64_t at = row / p.m, i = row % p.m, b_at = p.shared ? 0 : at;
      for (std::int64_t j = 0; j < p.n; ++j) {
        double sum = 0.0;
        for (std::int64_t l = 0; l < p.k; ++l) {
          sum += v[0][index(at * p.m * p.k + (ta ? l * p.m + i : i * p.k + l))] *
                 v[1][index(b_at * p.k * p.n + (tb ? j * p.k + l : l * p.n + j))];
        }
        y.push_back(sum);
      }
    }
    return y;
  };
  return c;
}

struct Heads {
  std::int64_t batch, queries, keys, width;
  AttentionOptions options;
};

// One output row: the softmax-weighted mean of the values of the keys that query t sees.
void attend(const Heads& a, const Values& v, std::int64_t b, std::int64_t h, std::int64_t t,
            double* y) {
  const AttentionOptions& o = a.options;
  const std::int64_t kv = h / (o.heads / o.kv_heads);
  const std::int64_t seen = o.causal ? std::min(a.keys, o.query_start + t + 1) : a.keys;
  const double scale = o.scale != 0.0 ? o.scale : 1.0 / std::sqrt(static_cast<double>(a.width));
  const auto key = [&](std::int64_t s) { return ((b * a.keys + s) * o.kv_heads + kv) * a.width; };
  const std::int64_t query = ((b * a.queries + t) * o.heads + h) * a.width;
  std::vector<double> score(index(seen));
  for (std::int64_t s = 0; s < seen; ++s) {
    for (std::int64_t j = 0; j < a.width; ++j)
      score[index(s)] += scale * v[0][index(query + j)] * v[1][index(key(s) + j)];
  }
  const double most = *std::max_element(score.begin(), score.end());
  double sum = 0.0;
  for (double& x : score)
    sum += x = std::exp(x - most);
  for (std::int64_t s = 0; s < seen; ++s) {
    for (std::int64_t j = 0; j < a.width; ++j)
      y[query + j] += score[index(s)] / sum * v[2][index(key(s) + j)];
  }
}

OpCase attention_case(const char* suffix, const Heads& a) {
  const AttentionOptions& o = a.options;
  const Shape q{a.batch, a.queries, o.heads * a.width}, k{a.batch, a.keys, o.kv_heads * a.width};
  OpCase c;
  c.op = "attention";
  c.name = c.op + suffix;
  for (const Shape& shape : {q, k, k})
    c.inputs.push_back({.shape = shape, .low = -1.0, .high = 1.0});
  c.reduction = std::max({a.queries * o.heads / o.kv_heads, a.keys, a.width});
  c.build = [o](Context& cx, Tape& t, std::span<const Var> v) {
    return attention(cx, t, v[0], v[1], v[2], o);
  };
  c.reference = [a, n = q.numel()](const Values& v) {
    std::vector<double> y(index(n));
    for (std::int64_t b = 0; b < a.batch; ++b) {
      for (std::int64_t h = 0; h < a.options.heads; ++h) {
        for (std::int64_t t = 0; t < a.queries; ++t)
          attend(a, v, b, h, t, y.data());
      }
    }
    return y;
  };
  return c;
}

OpCase rope_case(const char* suffix, const Shape& x, RopeOptions o) {
  const std::int64_t half = x[2] / o.heads / 2;
  OpCase c;
  c.op = "rope";
  c.name = c.op + suffix;
  c.inputs = {{.shape = x}};
  c.reduction = 2;
  c.build = [o](Context& cx, Tape& t, std::span<const Var> v) { return rope(cx, t, v[0], o); };
  c.reference = [=](const Values& v) {
    std::vector<double> y(v[0].size());
    for (std::int64_t at = 0; at < x.numel() / 2; ++at) {
      const std::int64_t j = at % half, head = at / half, row = head / o.heads;
      const double position = static_cast<double>(o.start + row % x[1]);
      const double angle =
          position * std::pow(o.theta, -static_cast<double>(j) / static_cast<double>(half));
      const std::size_t low = index(head * 2 * half + j), high = low + index(half);
      y[low] = v[0][low] * std::cos(angle) - v[0][high] * std::sin(angle);
      y[high] = v[0][high] * std::cos(angle) + v[0][low] * std::sin(angle);
    }
    return y;
  };
  return c;
}

}  // namespace

std::vector<OpCase> product_cases() {
  return {
      linear_case("", {5, 7}, 3, true),
      linear_case("_batched", {2, 3, 4}, 6, false),
      linear_case("_one", {1, 1}, 1, true),
      linear_case("_large", {70, 130}, 65, true),
      matmul_case("", {3, 4, 5, 2, {}, false}),
      matmul_case("_transposed_a", {2, 4, 5, 3, {.transpose_a = true}, false}),
      matmul_case("_transposed_b", {2, 4, 5, 3, {.transpose_b = true}, true}),
      matmul_case("_shared_b", {3, 4, 5, 6, {.transpose_a = true, .transpose_b = true}, true}),
      matmul_case("_large", {2, 65, 40, 90, {}, false}),
      attention_case("", {2, 5, 5, 4, {.heads = 2, .kv_heads = 2}}),
      attention_case("_grouped", {1, 6, 6, 2, {.heads = 4, .kv_heads = 2}}),
      attention_case("_cross", {2, 3, 7, 2, {.heads = 2, .kv_heads = 1, .causal = false}}),
      attention_case("_decoding", {1, 2, 9, 4, {.heads = 1, .scale = 0.7, .query_start = 7}}),
      attention_case("_large", {1, 80, 300, 8, {.heads = 2, .kv_heads = 1, .query_start = 220}}),
      rope_case("", {2, 3, 8}, {.heads = 2}),
      rope_case("_later", {1, 5, 6}, {.heads = 1, .theta = 100.0, .start = 11}),
      rope_case("_packed", {2, 7, 160}, {.heads = 5, .start = 300}),
  };
}

}  // namespace gradwire::test
