#include "export/adapter_export.h"

#include <algorithm>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "models/adapters/vectors.h"
#include "models/formats/decoder_family.h"
#include "models/formats/decoder_names.h"

namespace gradwire {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(const AdapterToExport& adapter, const char* format,
                         const char* supported) {
  const auto method = static_cast<std::size_t>(adapter.config.method);
  throw Error(ErrorKind::kConfig,
              fmt::format("{} cannot hold an adapter of the method '{}' (it holds {})", format,
                          adapter_method_names()[method], supported));
}

std::string last_part(const std::string& site) {
  return site.substr(site.rfind('.') + 1);
}

// "q_proj" and the like if all such layers of the base are meant, else every site by its name: PEFT
// takes a name for all modules that end with it.
std::vector<std::string> module_names(const AdapterToExport& adapter,
                                      const std::vector<std::string>& sites) {
  std::set<std::string> kinds;
  for (const std::string& site : sites)
    kinds.insert(last_part(site));
  for (const Site& site : adapter.base.sites()) {
    if (site.kind != SiteKind::kLinear || !kinds.contains(last_part(site.name))) continue;
    if (std::ranges::find(sites, site.name) == sites.end()) return sites;
  }
  return {kinds.begin(), kinds.end()};
}

// A parameter "<site>.<part>.<adapter>.<kind>".
struct Part {
  std::string site, part;
};
Part part_of(const AdapterToExport& adapter, const std::string& name) {
  const std::string middle =
      "." + adapter.set.names()[static_cast<std::size_t>(adapter.index)] + ".";
  const std::string before = name.substr(0, name.rfind(middle));
  const std::size_t dot = before.rfind('.');
  return {before.substr(0, dot), before.substr(dot + 1)};
}

Json lora_json(const AdapterToExport& adapter) {
  const AdapterConfig& c = adapter.config;
  return {{"peft_type", "LORA"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", adapter.base_name},
          {"revision", nullptr},
          {"r", c.rank},
          {"lora_alpha", c.alpha},
          {"lora_dropout", c.dropout},
          {"bias", "none"},
          {"fan_in_fan_out", false},
          {"target_modules", module_names(adapter, adapter.set.sites())},
          {"modules_to_save", nullptr},
          {"use_rslora", c.rslora},
          {"use_dora", c.method == AdapterMethod::kDora},
          {"init_lora_weights", true},
          {"rank_pattern", Json::object()},
          {"alpha_pattern", Json::object()},
          {"layers_to_transform", nullptr},
          {"layers_pattern", nullptr},
          {"inference_mode", true}};
}

Json ia3_json(const AdapterToExport& adapter) {
  const std::vector<std::string> sites = adapter.set.sites();
  std::vector<std::string> scaled_inputs;
  for (const std::string& site : sites)
    if (adapter.set.changes_input(site)) scaled_inputs.push_back(site);
  return {{"peft_type", "IA3"},
          {"task_type", "CAUSAL_LM"},
          {"base_model_name_or_path", adapter.base_name},
          {"revision", nullptr},
          {"target_modules", module_names(adapter, sites)},
          {"feedforward_modules", module_names(adapter, scaled_inputs)},
          {"fan_in_fan_out", false},
          {"modules_to_save", nullptr},
          {"init_ia3_weights", true},
          {"inference_mode", true}};
}

// PEFT's vectors of IA3 are a column for what a layer gives, a row for what it reads.
Shape peft_shape(const AdapterToExport& adapter, const Part& part, const Shape& ours) {
  if (part.part != "ia3_l") return ours;
  return adapter.set.changes_input(part.site) ? Shape{1, ours[0]} : Shape{ours[0], 1};
}

}  // namespace

SmallFiles peft_config(const AdapterToExport& adapter) {
  const AdapterMethod method = adapter.config.method;
  const bool is_lora = method == AdapterMethod::kLora || method == AdapterMethod::kDora;
  if (!is_lora && method != AdapterMethod::kIa3) {
    refuse(adapter, "a PEFT folder", "lora, dora and ia3");
  }
  const Json config = is_lora ? lora_json(adapter) : ia3_json(adapter);
  return {{"adapter_config.json",
           config.dump(2, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace) + "\n"}};
}

OwnedTensors peft_tensors(Context& cx, const AdapterToExport& adapter, ElementType type) {
  OwnedTensors out;
  for (Parameter* p : adapter.set.parameters_of_adapter(adapter.index)) {
    const Part part = part_of(adapter, p->name);
    const bool is_matrix = part.part.starts_with("lora_") && p->value.rank() == 2;
    out.add(
        fmt::format("base_model.model.{}.{}{}", part.site, part.part, is_matrix ? ".weight" : ""),
        type, peft_shape(adapter, part, p->value.shape()), p->value.to_host<float>(cx));
  }
  return out;
}

GgufMetadata gguf_lora_keys(const AdapterToExport& adapter, const std::string& name) {
  const AdapterConfig& c = adapter.config;
  if (c.method != AdapterMethod::kLora) refuse(adapter, "a GGUF adapter", "lora");
  // llama.cpp multiplies by alpha / rank.
  const auto alpha = static_cast<float>(c.lora_scale() * static_cast<double>(c.rank));
  return {{"general.architecture", std::string(family_of(adapter.base.config()).name)},
          {"general.type", "adapter"},
          {"general.name", name},
          {"adapter.type", "lora"},
          {"adapter.lora.alpha", alpha}};
}

OwnedTensors gguf_lora_tensors(Context& cx, const AdapterToExport& adapter, ElementType type) {
  const DecoderConfig& config = adapter.base.config();
  const std::int64_t head = config.resolved_head_width();
  OwnedTensors out;
  for (Parameter* p : adapter.set.parameters_of_adapter(adapter.index)) {
    const Part part = part_of(adapter, p->name);
    const std::string weight = part.site + ".weight";
    std::vector<float> values = p->value.to_host<float>(cx);
    const bool is_b = part.part == "lora_B";
    if (is_b && family_of(config).interleaved_in_gguf && is_turned(weight)) {
      to_gguf_order(values, p->value.dim(0) / head, head);
    }
    out.add(gguf_name(weight) + (is_b ? ".lora_b" : ".lora_a"), type, p->value.shape(),
            std::move(values));
  }
  return out;
}

}  // namespace gradwire
