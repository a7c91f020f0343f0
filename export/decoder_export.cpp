#include "export/decoder_export.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/formats/decoder_family.h"
#include "models/formats/decoder_names.h"

namespace gradwire {
namespace {

using Json = nlohmann::ordered_json;

const char* torch_type(ElementType type) {
  if (type == ElementType::kF16) return "float16";
  return type == ElementType::kBf16 ? "bfloat16" : "float32";
}

Json id_or_null(std::int32_t id) {
  return id < 0 ? Json(nullptr) : Json(id);
}

// llama_ftype of llama.h: what most tensors of a file are.
std::uint32_t gguf_file_type(ElementType type) {
  switch (type) {
    case ElementType::kF16: return 1;
    case ElementType::kQ4_0: return 2;
    case ElementType::kQ8_0: return 7;
    case ElementType::kBf16: return 32;
    default: return 0;
  }
}

ElementType gguf_tensor_type(const std::string& name, const Shape& shape, ElementType type) {
  if (shape.rank() < 2) return ElementType::kF32;
  const bool is_end = name == "token_embd.weight" || name == "output.weight";
  return type == ElementType::kQ4_0 && is_end ? ElementType::kQ8_0 : type;
}

}  // namespace

SmallFiles hugging_face_configs(const DecoderConfig& c, const SpecialTokens& special,
                                std::int64_t context, ElementType type) {
  const DecoderFamily& family = family_of(c);
  // Version 5 of transformers has rope_parameters and dtype, those before it and many other readers
  // rope_theta and torch_dtype.
  const Json config = {
      {"architectures", {family.hf_class}},
      {"model_type", family.name},
      {"vocab_size", c.vocab},
      {"hidden_size", c.width},
      {"intermediate_size", c.ffn_width},
      {"num_hidden_layers", c.layers},
      {"num_attention_heads", c.heads},
      {"num_key_value_heads", c.kv_heads},
      {"head_dim", c.resolved_head_width()},
      {"hidden_act", "silu"},
      {"max_position_embeddings", context},
      {"rms_norm_eps", c.norm_eps},
      {"initializer_range", 0.02},
      {"attention_bias", false},
      {"mlp_bias", false},
      {"attention_dropout", 0.0},
      {"tie_word_embeddings", c.tie_embeddings},
      {"rope_theta", c.rope_theta},
      {"rope_scaling", nullptr},
      {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", c.rope_theta}}},
      {"bos_token_id", id_or_null(special.bos)},
      {"eos_token_id", id_or_null(special.eos)},
      {"pad_token_id", id_or_null(special.pad)},
      {"use_cache", true},
      {"torch_dtype", torch_type(type)},
      {"dtype", torch_type(type)},
  };
  const Json generation = {{"bos_token_id", id_or_null(special.bos)},
                           {"eos_token_id", id_or_null(special.eos)},
                           {"pad_token_id", id_or_null(special.pad)}};
  return {{"config.json", config.dump(2) + "\n"},
          {"generation_config.json", generation.dump(2) + "\n"}};
}

OwnedTensors hugging_face_tensors(Context& cx, DecoderLm& model, ElementType type) {
  OwnedTensors out;
  model.visit_params(
      [&](Parameter& p) { out.add(p.name, type, p.value.shape(), p.value.to_host<float>(cx)); });
  return out;
}

GgufMetadata gguf_decoder_keys(const DecoderConfig& c, const std::string& name,
                               std::int64_t context, ElementType type) {
  const DecoderFamily& family = family_of(c);
  GgufMetadata out{{"general.architecture", std::string(family.name)},
                   {"general.type", "model"},
                   {"general.name", name},
                   {"general.file_type", gguf_file_type(type)}};
  if (layout_of(type).block_elements > 1) out.emplace_back("general.quantization_version", 2U);
  const auto add = [&](const char* key, std::int64_t value) {
    out.emplace_back(fmt::format("{}.{}", family.name, key), static_cast<std::uint32_t>(value));
  };
  const auto add_number = [&](const char* key, double value) {
    out.emplace_back(fmt::format("{}.{}", family.name, key), static_cast<float>(value));
  };
  add("context_length", context);
  add("embedding_length", c.width);
  add("block_count", c.layers);
  add("feed_forward_length", c.ffn_width);
  add("vocab_size", c.vocab);
  add("attention.head_count", c.heads);
  add("attention.head_count_kv", c.kv_heads);
  add("attention.key_length", c.resolved_head_width());
  add("attention.value_length", c.resolved_head_width());
  add_number("attention.layer_norm_rms_epsilon", c.norm_eps);
  add("rope.dimension_count", c.resolved_head_width());
  add_number("rope.freq_base", c.rope_theta);
  return out;
}

OwnedTensors gguf_decoder_tensors(Context& cx, DecoderLm& model, ElementType type) {
  const std::int64_t head = model.config().resolved_head_width();
  const bool turned = family_of(model.config()).interleaved_in_gguf;
  OwnedTensors out;
  model.visit_params([&](Parameter& p) {
    std::vector<float> values = p.value.to_host<float>(cx);
    if (turned && is_turned(p.name)) to_gguf_order(values, p.value.dim(0) / head, head);
    const std::string name = gguf_name(p.name);
    const Shape& shape = p.value.shape();
    out.add(name, gguf_tensor_type(name, shape, type), shape, std::move(values));
  });
  return out;
}

}  // namespace gradwire
