#include <string_view>
#include <utility>

#include "core/glob.h"
#include "models/adapters/adapter_size.h"

#include "jobs/language_model/recipe.h"

namespace gradwire {
namespace {

// Elements that backward needs of one block, per row: two norms' inputs and outputs, q, k, v and
// the attention's output, gate, up and their product.
std::int64_t block_activations(const DecoderConfig& c) {
  const std::int64_t q_width = c.resolved_head_width() * c.heads;
  const std::int64_t kv_width = c.resolved_head_width() * c.kv_heads;
  return 4 * c.width + 2 * q_width + 2 * kv_width + 3 * c.ffn_width;
}

// Of a unit, for a micro-batch of so many rows. With recomputation a block keeps its input, and is
// whole while it is differentiated.
UnitCost unit_memory(const DecoderConfig& c, int unit, std::int64_t rows) {
  UnitCost cost;
  const std::int64_t row_bytes = rows * static_cast<std::int64_t>(size_of(c.compute));
  if (unit == unit_count(c) - 1) {
    cost.bytes = row_bytes * (2 * c.width + c.vocab);
  } else if (unit > 0) {
    cost.bytes = row_bytes * (c.recompute ? c.width : block_activations(c));
    cost.rerun_bytes = row_bytes * block_activations(c) - cost.bytes;
    cost.working_bytes = cost.rerun_bytes;
    cost.result_bytes = row_bytes * c.width;
  }
  return cost;
}

// Elements of every unit: of the base, and of the adapters on it.
class Elements {
 public:
  Elements(const LanguageModelRecipe& recipe, const DecoderConfig& c)
      : tied_(c.tie_embeddings), layers_(static_cast<std::size_t>(unit_count(c))) {
    const bool adapted = recipe.adapters.is_used();
    const StringList& trained = adapted ? recipe.adapters.also_train : recipe.model.trainable;
    for (const auto& [name, shape] : parameter_shapes(c))
      add_base(name, shape.numel(), matches_any(name, trained));
    if (!adapted) return;
    const AdapterConfig config = recipe.adapters.config();
    for (const Site& site : decoder_sites(c))
      if (is_target(site, config)) unit_of(site.name).parameters += adapter_elements(site, config);
  }
  std::vector<LayerOutline> take() { return std::move(layers_); }

 private:
  void add_base(const std::string& name, std::int64_t elements, bool is_trained) {
    const auto add = [&](LayerOutline& layer) {
      layer.parameters += elements;
      if (!is_trained) layer.frozen += elements;
    };
    add(unit_of(name));
    if (tied_ && name == kEmbeddingName) add(layers_.back());
  }
  LayerOutline& unit_of(const std::string& name) {
    constexpr std::string_view kLayers = "model.layers.";
    if (name == kEmbeddingName) return layers_.front();
    if (!name.starts_with(kLayers)) return layers_.back();
    return layers_[1 + std::stoul(name.substr(kLayers.size()))];
  }

  bool tied_;
  std::vector<LayerOutline> layers_;
};

// 2 operations per weight and token forward, twice that backward; attention does two T x T products
// per head forward, half of each above the diagonal.
double flops_per_sequence(const DecoderConfig& c, double context) {
  const auto d = [](std::int64_t n) { return static_cast<double>(n); };
  const double q_width = d(c.resolved_head_width() * c.heads);
  const double kv_width = d(c.resolved_head_width() * c.kv_heads);
  const double block = 2.0 * d(c.width) * (q_width + kv_width) + 3.0 * d(c.width) * d(c.ffn_width);
  const double weights = d(c.layers) * block + d(c.vocab) * d(c.width);
  const double attention = d(c.layers) * context * q_width;
  return 6.0 * context * (weights + attention);
}

}  // namespace

DecoderConfig decoder_config(const Recipe& recipe, std::int64_t vocabulary) {
  const DecoderRecipe& m = language_model_of(recipe).model;
  DecoderConfig config;
  config.vocab = vocabulary;
  config.layers = m.layers;
  config.width = m.width;
  config.heads = m.heads;
  config.kv_heads = m.resolved_kv_heads();
  config.head_width = m.resolved_head_width();
  config.ffn_width = m.resolved_ffn_width();
  config.qkv_bias = m.qkv_bias;
  config.qk_norm = m.qk_norm;
  config.rope_theta = m.rope_theta;
  config.norm_eps = m.norm_eps;
  config.tie_embeddings = m.tie_embeddings;
  config.dropout = m.dropout;
  config.recompute = recipe.parallel.recompute;
  config.compute = recipe.precision == "bf16" ? DType::kBf16 : DType::kF32;
  return config;
}

ModelOutline decoder_outline(const Recipe& recipe, const DecoderConfig& c) {
  const std::int64_t context = language_model_of(recipe).data.context;
  ModelOutline outline;
  outline.layers = Elements(language_model_of(recipe), c).take();
  for (int unit = 0; unit < unit_count(c); ++unit)
    outline.layers[static_cast<std::size_t>(unit)].memory =
        unit_memory(c, unit, recipe.batch.micro * context);
  if (c.tie_embeddings) {
    outline.tied = kEmbeddingName;
    outline.tied_elements = c.vocab * c.width;
    outline.tied_is_frozen = outline.layers.front().frozen > 0;
  }
  outline.boundary = {recipe.batch.micro, context, c.width};
  outline.boundary_type = c.compute;
  outline.counts = "tokens";
  outline.count_per_sequence = context;
  outline.flops_per_sequence = flops_per_sequence(c, static_cast<double>(context));
  return outline;
}

}  // namespace gradwire
