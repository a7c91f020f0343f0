#include "models/decoder_lm.h"

#include <cmath>

#include <fmt/format.h>

#include "core/error.h"
#include "core/ops/dropout/dropout.h"
#include "core/ops/elementwise/elementwise.h"
#include "core/ops/embedding/embedding.h"
#include "core/ops/linear/linear.h"
#include "core/ops/norm/norm.h"
#include "core/ops/shape/shape.h"
#include "core/recompute.h"

namespace gradwire {
namespace {

constexpr double kInitStddev = 0.02;

double out_stddev(const DecoderConfig& c) {
  return kInitStddev / std::sqrt(2.0 * static_cast<double>(c.layers));
}

AttentionConfig attention_config(const DecoderConfig& c) {
  return {c.width,      c.heads,    c.kv_heads, c.resolved_head_width(),
          c.rope_theta, c.qkv_bias, c.qk_norm,  c.norm_eps};
}

}  // namespace

void check_config(const DecoderConfig& c) {
  const auto need = [](bool ok, const std::string& what) {
    if (!ok) throw Error(ErrorKind::kConfig, "model: " + what);
  };
  need(c.vocab > 0 && c.layers > 0 && c.width > 0 && c.heads > 0 && c.kv_heads > 0 &&
           c.ffn_width > 0,
       fmt::format("vocab {}, layers {}, width {}, heads {}, kv_heads {} and ffn_width {} must be "
                   "positive",
                   c.vocab, c.layers, c.width, c.heads, c.kv_heads, c.ffn_width));
  need(c.head_width > 0 || (c.head_width == 0 && c.width % c.heads == 0),
       fmt::format("width {} is not a multiple of heads {}", c.width, c.heads));
  need(c.resolved_head_width() % 2 == 0,
       fmt::format("head width {} is odd; rotary positions need pairs", c.resolved_head_width()));
  need(c.heads % c.kv_heads == 0,
       fmt::format("heads {} is not a multiple of kv_heads {}", c.heads, c.kv_heads));
}

std::map<std::string, Shape> parameter_shapes(const DecoderConfig& c) {
  const std::int64_t head = c.resolved_head_width();
  const std::int64_t q_width = head * c.heads, kv_width = head * c.kv_heads;
  std::map<std::string, Shape> shapes{{kEmbeddingName, {c.vocab, c.width}},
                                      {"model.norm.weight", {c.width}}};
  if (!c.tie_embeddings) shapes["lm_head.weight"] = {c.vocab, c.width};
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const auto add = [&](const char* name, const Shape& shape) {
      shapes[fmt::format("model.layers.{}.{}", i, name)] = shape;
    };
    add("input_layernorm.weight", {c.width});
    add("post_attention_layernorm.weight", {c.width});
    add("self_attn.q_proj.weight", {q_width, c.width});
    add("self_attn.k_proj.weight", {kv_width, c.width});
    add("self_attn.v_proj.weight", {kv_width, c.width});
    add("self_attn.o_proj.weight", {c.width, q_width});
    add("mlp.gate_proj.weight", {c.ffn_width, c.width});
    add("mlp.up_proj.weight", {c.ffn_width, c.width});
    add("mlp.down_proj.weight", {c.width, c.ffn_width});
    if (c.qkv_bias) {
      add("self_attn.q_proj.bias", {q_width});
      add("self_attn.k_proj.bias", {kv_width});
      add("self_attn.v_proj.bias", {kv_width});
    }
    if (c.qk_norm) {
      add("self_attn.q_norm.weight", {head});
      add("self_attn.k_norm.weight", {head});
    }
  }
  return shapes;
}

std::vector<Site> decoder_sites(const DecoderConfig& c) {
  constexpr std::string_view kWeight = ".weight";
  std::vector<Site> sites;
  for (std::int64_t i = 0; i < c.layers; ++i) {
    for (const char* sublayer : {"self_attn", "mlp"})
      sites.push_back(
          {fmt::format("model.layers.{}.{}", i, sublayer), SiteKind::kSublayer, c.width, c.width});
  }
  for (const auto& [name, shape] : parameter_shapes(c)) {
    if (!name.ends_with("_proj.weight")) continue;
    sites.push_back(
        {name.substr(0, name.size() - kWeight.size()), SiteKind::kLinear, shape[1], shape[0]});
  }
  return sites;
}

std::int64_t parameter_count(const DecoderConfig& c) {
  std::int64_t elements = 0;
  for (const auto& [name, shape] : parameter_shapes(c))
    elements += shape.numel();
  return elements;
}

DecoderBlock::DecoderBlock(Context& cx, const std::string& path, const DecoderConfig& config)
    : path_(path),
      norm_eps_(config.norm_eps),
      dropout_(config.dropout),
      attention_(cx, path + ".self_attn", attention_config(config), kInitStddev,
                 out_stddev(config)),
      mlp_(cx, path + ".mlp", config.width, config.ffn_width, kInitStddev, out_stddev(config)) {
  init_constant(cx, input_norm_, path + ".input_layernorm.weight", {config.width}, 1.0);
  init_constant(cx, post_norm_, path + ".post_attention_layernorm.weight", {config.width}, 1.0);
}

template <class Layer>
Var DecoderBlock::residual(Context& cx, Tape& tape, Var x, Parameter& norm, const std::string& site,
                           const Adaptation& adapted, const Layer& layer) {
  const Var normed = rmsnorm(cx, tape, x, tape.param(norm), norm_eps_);
  const Var update = adapted.sublayer(cx, tape, site, {normed, x}, layer(normed));
  const Var kept = dropout(cx, tape, update, dropout_);
  const Var out = add(cx, tape, x, kept);
  // Neither the sum nor dropout reads its input again: only the tape would keep these alive.
  tape.release(update);
  tape.release(kept);
  return out;
}

Var DecoderBlock::forward(Context& cx, Tape& tape, Var x, KvCache* cache, const Adaptation& adapted,
                          const Tensor& sample_starts) {
  const Var mixed = residual(cx, tape, x, input_norm_, attention_site(), adapted, [&](Var h) {
    return attention_.forward(cx, tape, h, cache, adapted, sample_starts);
  });
  return residual(cx, tape, mixed, post_norm_, mlp_site(), adapted,
                  [&](Var h) { return mlp_.forward(cx, tape, h, adapted); });
}

void DecoderBlock::add_sites(std::vector<Site>& sites) {
  const std::int64_t width = input_norm_.value.numel();
  attention_.add_sites(sites);
  sites.push_back({attention_site(), SiteKind::kSublayer, width, width});
  mlp_.add_sites(sites);
  sites.push_back({mlp_site(), SiteKind::kSublayer, width, width});
}

void DecoderBlock::visit_params(const Visitor& f) {
  f(input_norm_);
  attention_.visit_params(f);
  f(post_norm_);
  mlp_.visit_params(f);
}

int unit_count(const DecoderConfig& c) {
  return static_cast<int>(c.layers) + 2;
}

DecoderLm::DecoderLm(Context& cx, const DecoderConfig& config)
    : DecoderLm(cx, config, std::vector<UnitRange>{{0, unit_count(config)}}) {}

DecoderLm::DecoderLm(Context& cx, const DecoderConfig& config, std::span<const UnitRange> here)
    : config_(config), here_(static_cast<std::size_t>(unit_count(config)), false) {
  check_config(config);
  for (const UnitRange& range : here) {
    for (int u = range.begin; u < range.end; ++u)
      here_.at(static_cast<std::size_t>(u)) = true;
  }
  if (has_embedding()) {
    init_normal(cx, embedding_, kEmbeddingName, {config.vocab, config.width}, kInitStddev);
  }
  for (std::int64_t i = 0; i < config.layers; ++i) {
    const bool is_here = here_[static_cast<std::size_t>(i) + 1];
    blocks_.push_back(
        is_here ? std::make_unique<DecoderBlock>(cx, fmt::format("model.layers.{}", i), config)
                : nullptr);
  }
  if (!here_.back()) return;
  init_constant(cx, norm_, "model.norm.weight", {config.width}, 1.0);
  if (!config.tie_embeddings) {
    init_normal(cx, head_, "lm_head.weight", {config.vocab, config.width}, kInitStddev);
  }
}

bool DecoderLm::has_embedding() const {
  return here_.front() || (config_.tie_embeddings && here_.back());
}

Var DecoderLm::head(Context& cx, Tape& tape, Var x) {
  const Var h = rmsnorm(cx, tape, x, tape.param(norm_), config_.norm_eps);
  return linear(cx, tape, h, tape.param(config_.tie_embeddings ? embedding_ : head_));
}

Var DecoderLm::block(Context& cx, Tape& tape, DecoderBlock& b, Var x, KvCache* cache,
                     const Adaptation& adapted, const Tensor& sample_starts) {
  if (!config_.recompute || cache != nullptr) {
    return b.forward(cx, tape, x, cache, adapted, sample_starts);
  }
  std::vector<Parameter*> params = parameters_of(b);
  const std::vector<Parameter*> attached = adapted.parameters(b.path() + ".");
  params.insert(params.end(), attached.begin(), attached.end());
  return recompute(cx, tape, x, params, [&b, adapted, sample_starts](Context& c, Tape& t, Var in) {
    return b.forward(c, t, in, nullptr, adapted, sample_starts);
  });
}

Var DecoderLm::unit(Context& cx, Tape& tape, int index, const Tensor& ids, Var x, KvCache* cache,
                    const Adaptation& adapted, const Tensor& sample_starts) {
  if (index == 0) return embedding(cx, tape, tape.param(embedding_), ids, config_.compute);
  if (index <= config_.layers) {
    return block(cx, tape, *blocks_[static_cast<std::size_t>(index) - 1], x, cache, adapted,
                 sample_starts);
  }
  if (cache == nullptr) return head(cx, tape, x);
  const std::int64_t tokens = ids.dim(1);
  return head(cx, tape, slice(cx, tape, x, 1, tokens - 1, tokens));
}

Var DecoderLm::forward(Context& cx, Tape& tape, UnitRange units, const Tensor& ids, Var x,
                       std::vector<KvCache>* caches, const Adaptation& adapted,
                       const Tensor& sample_starts) {
  check(caches == nullptr || !sample_starts, ErrorKind::kShape,
        "decoder: a cache holds one sample");
  check(caches == nullptr || caches->size() == blocks_.size(), ErrorKind::kShape,
        "decoder: one cache per layer");
  KvCache none;
  for (int u = units.begin; u < units.end; ++u) {
    check(here_.at(static_cast<std::size_t>(u)), ErrorKind::kUsage, "decoder: a unit not here");
    Context own = cx;
    own.rng = Rng{derive_seed(cx.rng.seed, static_cast<std::uint64_t>(u)), 0};
    const bool is_block = u > 0 && u <= config_.layers;
    KvCache* cache = caches == nullptr ? nullptr
                     : is_block        ? &(*caches)[static_cast<std::size_t>(u) - 1]
                                       : &none;
    x = unit(own, tape, u, ids, x, cache, adapted, sample_starts);
  }
  return x;
}

Var DecoderLm::logits(Context& cx, Tape& tape, const Tensor& ids, const Adaptation& adapted) {
  Context own = cx;
  own.rng.seed = derive_seed(cx.rng.seed, cx.rng.take(1));
  return forward(own, tape, {0, unit_count(config_)}, ids, {}, nullptr, adapted);
}

Var DecoderLm::next_logits(Context& cx, Tape& tape, const Tensor& ids,
                           std::vector<KvCache>& caches) {
  return forward(cx, tape, {0, unit_count(config_)}, ids, {}, &caches);
}

std::vector<KvCache> DecoderLm::make_caches(Context& cx, std::int64_t capacity) const {
  std::vector<KvCache> caches;
  for (const auto& block : blocks_) {
    caches.push_back(block ? block->attention().make_cache(cx, capacity, config_.compute)
                           : KvCache{});
  }
  return caches;
}

std::vector<Site> DecoderLm::sites() {
  std::vector<Site> sites;
  for (const auto& block : blocks_) {
    if (block) block->add_sites(sites);
  }
  return sites;
}

void DecoderLm::visit_params(const Visitor& f) {
  if (has_embedding()) f(embedding_);
  for (const auto& block : blocks_) {
    if (block) block->visit_params(f);
  }
  if (!here_.back()) return;
  f(norm_);
  if (!config_.tie_embeddings) f(head_);
}

}  // namespace gradwire
