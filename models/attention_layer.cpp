#include "models/attention_layer.h"

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/attention/attention.h"
#include "core/ops/rope/rope.h"

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
  const std::int64_t kv_width = width / config.heads * config.kv_heads;
  init_normal(cx, q_, path + ".q_proj.weight", {width, width}, init_stddev);
  init_normal(cx, k_, path + ".k_proj.weight", {kv_width, width}, init_stddev);
  init_normal(cx, v_, path + ".v_proj.weight", {kv_width, width}, init_stddev);
  init_normal(cx, o_, path + ".o_proj.weight", {width, width}, out_stddev);
}

Var AttentionLayer::forward(Context& cx, Tape& tape, Var x, KvCache* cache,
                            const Adaptation& adapted) {
  const std::int64_t start = cache != nullptr ? cache->length : 0;
  const std::int64_t tokens = tape.value(x).dim(1);
  const auto turned = [&](Parameter& weight, std::int64_t heads) {
    const Var flat = adapted.linear(cx, tape, x, weight);
    const Var out = rope(cx, tape, flat, {heads, config_.rope_theta, start});
    tape.release(flat);
    return out;
  };
  const Var q = turned(q_, config_.heads);
  Var k = turned(k_, config_.kv_heads);
  Var v = adapted.linear(cx, tape, x, v_);
  if (cache != nullptr) {
    k = append(cx, tape, cache->keys, start, k);
    v = append(cx, tape, cache->values, start, v);
    cache->length = start + tokens;
  }
  AttentionOptions options;
  options.heads = config_.heads;
  options.kv_heads = config_.kv_heads;
  options.query_start = start;
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
}

KvCache AttentionLayer::make_cache(Context& cx, std::int64_t capacity, DType dtype) const {
  const std::int64_t kv_width = config_.width / config_.heads * config_.kv_heads;
  return {Tensor::empty(cx, {capacity, kv_width}, dtype),
          Tensor::empty(cx, {capacity, kv_width}, dtype), 0};
}

}  // namespace gradwire
