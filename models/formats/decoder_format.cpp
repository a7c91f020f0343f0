#include "models/formats/decoder_format.h"

#include <filesystem>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "core/printable.h"
#include "core/weight_files/json_reader.h"
#include "core/weight_files/safetensors.h"
#include "models/formats/decoder_family.h"
#include "models/formats/decoder_names.h"

namespace gradwire {
namespace {

using Json = nlohmann::json;

// A model of one vector per token and layer in memory: larger numbers are no model but a mistake.
constexpr std::int64_t kMost = std::int64_t{1} << 24;

[[noreturn]] void refuse(const std::string& path, const std::string& why) {
  throw Error(ErrorKind::kData, fmt::format("{}: {}", path, why));
}

const DecoderFamily& family_of(const std::string& path, const std::string& name) {
  for (const DecoderFamily& family : decoder_families())
    if (family.name == name) return family;
  refuse(path, fmt::format("architecture '{}' is not supported (llama, mistral, qwen2, qwen3)",
                           printable(name, 64)));
}

// config.json of a folder.
class Config {
 public:
  explicit Config(std::string path) : path_(std::move(path)) {
    constexpr int kDeepest = 16;
    const auto file = MappedFile::open(path_);
    json_ = read_json_object(
        path_, {reinterpret_cast<const char*>(file->bytes().data()), file->bytes().size()},
        kDeepest);
  }

  const std::string& path() const { return path_; }
  bool has(const char* key) const { return json_.contains(key) && !json_[key].is_null(); }
  const Json& object() const { return json_; }

  std::string text(const char* key) const {
    if (!has(key) || !json_[key].is_string()) refuse(path_, fmt::format("has no text '{}'", key));
    return json_[key].get<std::string>();
  }
  std::int64_t integer(const char* key) const {
    if (!has(key) || !json_[key].is_number_integer()) {
      refuse(path_, fmt::format("has no integer '{}'", key));
    }
    return json_[key].get<std::int64_t>();
  }
  std::int64_t integer(const char* key, std::int64_t otherwise) const {
    return has(key) ? integer(key) : otherwise;
  }
  double number(const char* key) const { return number(json_, key); }
  double number(const Json& in, const char* key) const {
    if (!in.contains(key) || !in[key].is_number()) {
      refuse(path_, fmt::format("has no number '{}'", key));
    }
    return in[key].get<double>();
  }
  bool flag(const char* key, bool otherwise) const {
    if (!has(key)) return otherwise;
    if (!json_[key].is_boolean()) refuse(path_, fmt::format("'{}' is neither true nor false", key));
    return json_[key].get<bool>();
  }

 private:
  std::string path_;
  Json json_;
};

// rope_theta, or rope_parameters as transformers 5 writes it; scaled positions are refused.
double rope_theta(const Config& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!config.has(key)) continue;
    const Json& rope = config.object()[key];
    if (!rope.is_object()) refuse(config.path(), fmt::format("'{}' is no object", key));
    for (const char* kind : {"rope_type", "type"}) {
      if (!rope.contains(kind)) continue;
      if (rope[kind] == "default") continue;
      refuse(config.path(), fmt::format("rotary positions scaled as {} are not supported",
                                        printable(rope[kind].dump(), 64)));
    }
    if (!config.has("rope_theta") && rope.contains("rope_theta")) {
      return config.number(rope, "rope_theta");
    }
  }
  constexpr double kUsual = 10000.0;
  return config.has("rope_theta") ? config.number("rope_theta") : kUsual;
}

void check_values(const std::string& path, const DecoderConfig& c) {
  const std::pair<const char*, std::int64_t> sizes[] = {
      {"vocabulary", c.vocab},     {"layers", c.layers},      {"width", c.width},
      {"heads", c.heads},          {"key heads", c.kv_heads}, {"feed-forward width", c.ffn_width},
      {"head width", c.head_width}};
  for (const auto& [what, value] : sizes)
    if (value < 1 || value > kMost) refuse(path, fmt::format("{} {}", what, value));
  if (!(c.norm_eps > 0.0) || !(c.rope_theta > 0.0)) {
    refuse(path,
           fmt::format("epsilon {} and rotary base {} must be positive", c.norm_eps, c.rope_theta));
  }
  try {
    check_config(c);
  } catch (const Error& e) {
    refuse(path, e.what());
  }
}

// What files hold beside parameters: rotary frequencies, which follow from the base.
bool is_derived(std::string_view name) {
  return name.ends_with(".rotary_emb.inv_freq");
}

}  // namespace

ForeignDecoder ForeignDecoder::open(const std::string& path) {
  ForeignDecoder out;
  out.path_ = path;
  if (std::filesystem::is_directory(path)) {
    out.read_folder();
  } else {
    out.read_gguf();
  }
  check_values(path, out.config_);
  return out;
}

void ForeignDecoder::read_gguf() {
  const GgufFile file = GgufFile::open(path_);
  const std::string architecture = file.text("general.architecture");
  const DecoderFamily& family = family_of(path_, architecture);
  const auto key = [&](const char* name) { return fmt::format("{}.{}", architecture, name); };
  if (file.has(key("rope.scaling.type")) && file.text(key("rope.scaling.type")) != "none") {
    refuse(path_, fmt::format("rotary positions scaled as '{}' are not supported",
                              printable(file.text(key("rope.scaling.type")), 64)));
  }
  is_gguf_ = true;
  interleaved_rope_ = family.interleaved_in_gguf;
  tensors_ = file.tensors();
  context_ = file.integer(key("context_length"));
  if (file.has(key("attention.sliding_window"))) {
    check_window(path_, file.integer(key("attention.sliding_window")));
  }
  config_.layers = file.integer(key("block_count"));
  config_.width = file.integer(key("embedding_length"));
  config_.ffn_width = file.integer(key("feed_forward_length"));
  config_.heads = file.integer(key("attention.head_count"));
  config_.kv_heads = file.has(key("attention.head_count_kv"))
                         ? file.integer(key("attention.head_count_kv"))
                         : config_.heads;
  config_.norm_eps = file.number(key("attention.layer_norm_rms_epsilon"));
  if (file.has(key("rope.freq_base"))) config_.rope_theta = file.number(key("rope.freq_base"));
  if (config_.heads < 1) refuse(path_, fmt::format("heads {}", config_.heads));
  config_.head_width = file.has(key("attention.key_length"))
                           ? file.integer(key("attention.key_length"))
                           : config_.width / config_.heads;
  if (file.has(key("rope.dimension_count")) &&
      file.integer(key("rope.dimension_count")) != config_.head_width) {
    refuse(path_, fmt::format("rotary positions turn {} of the {} elements of a head; only all of "
                              "them are supported",
                              file.integer(key("rope.dimension_count")), config_.head_width));
  }
  const auto embedding = tensors_.find("token_embd.weight");
  if (embedding == tensors_.end() || embedding->second.shape.rank() != 2) {
    refuse(path_, "has no tensor token_embd.weight of two dimensions");
  }
  config_.vocab = embedding->second.shape[0];
  config_.tie_embeddings = !tensors_.contains("output.weight");
  config_.qkv_bias = family.qkv_bias;
  config_.qk_norm = family.qk_norm;
}

void ForeignDecoder::read_folder() {
  const Config config((std::filesystem::path(path_) / "config.json").string());
  const DecoderFamily& family = family_of(config.path(), config.text("model_type"));
  if (config.has("hidden_act") && config.text("hidden_act") != "silu") {
    refuse(config.path(), fmt::format("activation '{}' is not supported (silu)",
                                      printable(config.text("hidden_act"), 64)));
  }
  if (config.flag("mlp_bias", false) || config.flag("attention_bias", false)) {
    refuse(config.path(), "biases of all projections are not supported");
  }
  config_.vocab = config.integer("vocab_size");
  config_.layers = config.integer("num_hidden_layers");
  config_.width = config.integer("hidden_size");
  config_.ffn_width = config.integer("intermediate_size");
  config_.heads = config.integer("num_attention_heads");
  config_.kv_heads = config.integer("num_key_value_heads", config_.heads);
  if (config_.heads < 1) refuse(config.path(), fmt::format("heads {}", config_.heads));
  config_.head_width = config.integer("head_dim", config_.width / config_.heads);
  config_.norm_eps = config.number("rms_norm_eps");
  config_.rope_theta = rope_theta(config);
  config_.tie_embeddings = config.flag("tie_word_embeddings", false);
  config_.qkv_bias = family.qkv_bias;
  config_.qk_norm = family.qk_norm;
  context_ = config.integer("max_position_embeddings", 0);
  if (config.has("sliding_window") && config.flag("use_sliding_window", family.name == "mistral")) {
    check_window(config.path(), config.integer("sliding_window"));
  }
  tensors_ = read_safetensors_folder(path_);
  // Some files repeat the shared table under the head's name.
  if (config_.tie_embeddings) tensors_.erase("lm_head.weight");
}

// A window as long as the context leaves nothing out.
void ForeignDecoder::check_window(const std::string& file, std::int64_t window) const {
  if (window <= 0 || (context_ > 0 && window >= context_)) return;
  refuse(file, fmt::format("a sliding window of attention, over {} of its {} positions, is not "
                           "supported",
                           window, context_));
}

std::uint64_t ForeignDecoder::digest() const {
  Hasher hasher;
  const auto add = [&](const std::string& text) { hasher.add(std::as_bytes(std::span(text))); };
  const DecoderConfig& c = config_;
  add(fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {}", c.vocab, c.layers, c.width, c.heads,
                  c.kv_heads, c.head_width, c.ffn_width, c.rope_theta, c.norm_eps, c.tie_embeddings,
                  c.qkv_bias, c.qk_norm, interleaved_rope_));
  for (const auto& [name, tensor] : tensors_) {
    add(fmt::format("\n{} {} {}\n", name, name_of(tensor.type), to_string(tensor.shape)));
    hasher.add(tensor.bytes);
  }
  return hasher.digest();
}

const StoredTensor& ForeignDecoder::stored(const std::string& name) const {
  const std::string theirs = is_gguf_ ? gguf_name(name) : name;
  const auto found = tensors_.find(theirs);
  if (found == tensors_.end()) refuse(path_, fmt::format("tensor '{}' is missing", theirs));
  return found->second;
}

const StoredTensor& ForeignDecoder::stored(const std::string& name, const Shape& shape) const {
  const std::string theirs = is_gguf_ ? gguf_name(name) : name;
  const StoredTensor& tensor = stored(name);
  if (tensor.shape != shape) {
    refuse(path_, fmt::format("tensor '{}' is {}; this model has {}", theirs,
                              to_string(tensor.shape), to_string(shape)));
  }
  if (!is_decodable(tensor.type)) {
    refuse(path_, fmt::format("tensor '{}' is of {}", theirs, name_of(tensor.type)));
  }
  return tensor;
}

std::vector<float> ForeignDecoder::values(const std::string& name, const Shape& shape) const {
  const std::int64_t head = config_.resolved_head_width();
  std::vector<float> out = decode(stored(name, shape));
  if (interleaved_rope_ && is_turned(name)) from_gguf_order(out, shape[0] / head, head);
  return out;
}

ElementType ForeignDecoder::type_of(const std::string& name) const {
  return stored(name).type;
}

void ForeignDecoder::load(Context& cx, Module& model) const {
  model.visit_params([&](Parameter& p) {
    copy(cx, p.value, Tensor::from(cx, p.value.shape(), values(p.name, p.value.shape())));
    ++p.version;
  });
}

void ForeignDecoder::check_tensors() const {
  std::set<std::string> ours;
  for (const auto& [name, shape] : parameter_shapes(config_)) {
    stored(name, shape);
    ours.insert(is_gguf_ ? gguf_name(name) : name);
  }
  for (const auto& [name, tensor] : tensors_) {
    if (ours.contains(name) || is_derived(name)) continue;
    refuse(path_, fmt::format("tensor '{}' is no part of this architecture", printable(name, 128)));
  }
}

}  // namespace gradwire
