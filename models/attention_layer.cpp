#include "models/attention_layer.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/attention/attention.h"
#include "core/ops/norm/norm.h"
#include "core/ops/rope/rope.h"
#include "core/ops/shape/shape.h"

namespace gradwire {
namespace {

// Adds the new rows to the cache and gives back all rows so far, as [1, S, width].
Var append(Context& cx, Tape& tape, Tensor& rows, std::int64_t begin, Var fresh) {
  const Tensor& x = tape.value(fresh);
  const std::int64_t end = begin + x.dim(1);
  if (x.dim(0) != 1 || end > rows.dim(0)) {
    throw Error(ErrorKind::kShape, fmt::format("key/value cache: {} new rows at {} of {}, batch {}",
                                               x.dim(1), begin, rows.dim(0), x.dim(0)));
  }
  copy(cx, rows.slice(begin, end), x);
  return tape.constant(rows.slice(0, end).view({1, end, x.dim(2)}));
}

}  // namespace

AttentionLayer::AttentionLayer(Context& cx, const std::string& path, const AttentionConfig& config,
                               double init_stddev, double out_stddev)
    : config_(config) {
  const std::int64_t width = config.width;
  const std::int64_t q_width = config.head_width * config.heads;
  const std::int64_t kv_width = config.head_width * config.kv_heads;
  init_normal(cx, q_, path + ".q_proj.weight", {q_width, width}, init_stddev);
  init_normal(cx, k_, path + ".k_proj.weight", {kv_width, width}, init_stddev);
  init_normal(cx, v_, path + ".v_proj.weight", {kv_width, width}, init_stddev);
  init_normal(cx, o_, path + ".o_proj.weight", {width, q_width}, out_stddev);
  if (config.qkv_bias) {
    init_constant(cx, q_bias_, path + ".q_proj.bias", {q_width}, 0.0);
    init_constant(cx, k_bias_, path + ".k_proj.bias", {kv_width}, 0.0);
    init_constant(cx, v_bias_, path + ".v_proj.bias", {kv_width}, 0.0);
  }
  if (config.qk_norm) {
    init_constant(cx, q_norm_, path + ".q_norm.weight", {config.head_width}, 1.0);
    init_constant(cx, k_norm_, path + ".k_norm.weight", {config.head_width}, 1.0);
  }
}

Var AttentionLayer::turned(Context& cx, Tape& tape, Var x, const Adaptation& adapted,
                           Parameter& weight, Parameter& bias, Parameter& norm, std::int64_t start,
                           const Tensor& sample_starts) {
  Var flat = adapted.linear(cx, tape, x, weight, config_.qkv_bias ? &bias : nullptr);
  const Shape shape = tape.value(flat).shape();
  if (config_.qk_norm) {
    const Shape by_head{shape[0], shape[1], shape[2] / config_.head_width, config_.head_width};
    const Var heads = reshape(cx, tape, flat, by_head);
    flat = reshape(cx, tape, rmsnorm(cx, tape, heads, tape.param(norm), config_.norm_eps), shape);
  }
  const Var out = rope(cx, tape, flat,
                       {shape[2] / config_.head_width, config_.rope_theta, start, sample_starts});
  tape.release(flat);
  return out;
}

Var AttentionLayer::forward(Context& cx, Tape& tape, Var x, KvCache* cache,
                            const Adaptation& adapted, const Tensor& sample_starts) {
  const std::int64_t start = cache != nullptr ? cache->length : 0;
  const std::int64_t tokens = tape.value(x).dim(1);
  const Var q = turned(cx, tape, x, adapted, q_, q_bias_, q_norm_, start, sample_starts);
  Var k = turned(cx, tape, x, adapted, k_, k_bias_, k_norm_, start, sample_starts);
  Var v = adapted.linear(cx, tape, x, v_, config_.qkv_bias ? &v_bias_ : nullptr);
  if (cache != nullptr) {
    k = append(cx, tape, cache->keys, start, k);
    v = append(cx, tape, cache->values, start, v);
    cache->length = start + tokens;
  }
  AttentionOptions options;
  options.heads = config_.heads;
  options.kv_heads = config_.kv_heads;
  options.query_start = start;
  options.sample_starts = sample_starts;
  const Var mixed = attention(cx, tape, q, k, v, options);
  return adapted.linear(cx, tape, mixed, o_);
}

void AttentionLayer::add_sites(std::vector<Site>& sites) {
  for (Parameter* w : {&q_, &k_, &v_, &o_})
    sites.push_back(linear_site(*w));
}

void AttentionLayer::visit_params(const Visitor& f) {
  f(q_);
  f(k_);
  f(v_);
  f(o_);
  if (config_.qkv_bias) {
    f(q_bias_);
    f(k_bias_);
    f(v_bias_);
  }
  if (config_.qk_norm) {
    f(q_norm_);
    f(k_norm_);
  }
}

KvCache AttentionLayer::make_cache(Context& cx, std::int64_t capacity, DType dtype) const {
  const std::int64_t kv_width = config_.head_width * config_.kv_heads;
  return {Tensor::empty(cx, {capacity, kv_width}, dtype),
          Tensor::empty(cx, {capacity, kv_width}, dtype), 0};
}

}  // namespace gradwire
