#include "jobs/language_model/export.h"

#include <array>
#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"
#include "export/adapter_export.h"
#include "export/decoder_export.h"
#include "export/export_folder.h"
#include "export/model_card.h"
#include "models/adapters/merge.h"
#include "models/formats/decoder_family.h"

#include "jobs/language_model/recipe.h"
#include "jobs/language_model/run_data.h"
#include "recipe/recipe_io.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::pair<const char*, ElementType>, 5> kTypes = {
    {{"f32", ElementType::kF32},
     {"f16", ElementType::kF16},
     {"bf16", ElementType::kBf16},
     {"q8_0", ElementType::kQ8_0},
     {"q4_0", ElementType::kQ4_0}}};

ElementType type_of(const ExportRequest& request) {
  for (const auto& [name, type] : kTypes) {
    if (request.type != name) continue;
    if (request.format == "gguf" || layout_of(type).block_elements == 1) return type;
    throw Error(ErrorKind::kUsage,
                fmt::format("export: format {} cannot hold {}; f32, f16 and bf16 can be written",
                            request.format, request.type));
  }
  throw Error(ErrorKind::kUsage, fmt::format("export: no type '{}'", request.type));
}

class DecoderExport {
 public:
  DecoderExport(Context& cx, const Recipe& recipe, const Tokenizer& tokenizer,
                LanguageModelTask& task, const ExportRequest& request)
      : cx_(cx),
        recipe_(recipe),
        job_(language_model_of(recipe)),
        tokenizer_(tokenizer),
        task_(task),
        request_(request),
        type_(type_of(request)) {}

  ExportContents contents() {
    const bool whole = request_.format == "hf" || request_.format == "gguf";
    ExportContents out = whole ? model() : adapter();
    out.notes.emplace_back("README.md", to_markdown(card(whole)));
    return out;
  }

  // How far the written weights are from the trained ones.
  std::string rounding() const {
    return type_ == ElementType::kF32
               ? ""
               : fmt::format("{} moves weights by {:.2g} % (root mean square)", request_.type,
                             100.0 * rounding_);
  }

 private:
  std::string name() const {
    const fs::path dir = fs::path(recipe_.run.dir).lexically_normal();
    return (dir.has_filename() ? dir : dir.parent_path()).filename().string();
  }

  ExportContents model() {
    const DecoderConfig& config = task_.decoder().config();
    const std::int64_t context = job_.data.context;
    if (task_.adapters() != nullptr) merge_adapter(cx_, task_.decoder(), *task_.adapters(), 0);
    ExportContents out;
    if (request_.format == "gguf") {
      ExportedGguf file{"model.gguf", gguf_decoder_keys(config, name(), context, type_),
                        gguf_decoder_tensors(cx_, task_.decoder(), type_)};
      const GgufMetadata vocabulary = gguf_tokenizer_keys(tokenizer_);
      file.metadata.insert(file.metadata.end(), vocabulary.begin(), vocabulary.end());
      rounding_ = file.content.rounding();
      out.gguf.push_back(std::move(file));
      return out;
    }
    out.files = hugging_face_configs(config, tokenizer_.special(), context, type_);
    const SmallFiles vocabulary = hugging_face_tokenizer(tokenizer_, context);
    out.files.insert(out.files.end(), vocabulary.begin(), vocabulary.end());
    out.safetensors.push_back({"model", hugging_face_tensors(cx_, task_.decoder(), type_)});
    rounding_ = out.safetensors.front().content.rounding();
    return out;
  }

  ExportContents adapter() {
    if (task_.adapters() == nullptr) {
      throw Error(ErrorKind::kConfig,
                  fmt::format("export: {} holds adapters, and this run has trained the model "
                              "itself; hf and gguf hold models",
                              request_.format));
    }
    if (!job_.adapters.also_train.empty()) {
      throw Error(ErrorKind::kConfig,
                  fmt::format("export: parameters of the base were trained too "
                              "(adapters.also_train), which {} cannot hold; hf and gguf hold the "
                              "merged model",
                              request_.format));
    }
    const AdapterConfig config = job_.adapters.config();
    const AdapterToExport adapter{task_.decoder(), *task_.adapters(), 0, config,
                                  job_.adapters.base};
    ExportContents out;
    if (request_.format == "peft") {
      out.files = peft_config(adapter);
      out.safetensors.push_back({"adapter_model", peft_tensors(cx_, adapter, type_)});
      rounding_ = out.safetensors.front().content.rounding();
      return out;
    }
    out.gguf.push_back(
        {"adapter.gguf", gguf_lora_keys(adapter, name()), gguf_lora_tensors(cx_, adapter, type_)});
    rounding_ = out.gguf.front().content.rounding();
    return out;
  }

  std::string summary(bool whole) const {
    const std::string method = job_.adapters.is_used() ? job_.adapters.method : "";
    if (!whole) {
      return fmt::format("An adapter ({}) for the model that gradwire trained as `{}`.", method,
                         job_.adapters.base);
    }
    return method.empty() ? "A decoder language model, trained by gradwire."
                          : fmt::format(
                                "A decoder language model, trained by gradwire, with an "
                                "adapter ({}) merged into its weights.",
                                method);
  }

  ModelCard card(bool whole) const {
    const DecoderConfig& config = task_.decoder().config();
    ModelCard card{name(), summary(whole), {}, to_toml(recipe_)};
    const auto fact = [&](const char* what, std::string value) {
      card.facts.emplace_back(what, std::move(value));
    };
    fact("architecture", fmt::format("{}, {} layers of width {}", family_of(config).name,
                                     config.layers, config.width));
    fact("parameters", std::to_string(parameter_count(config)));
    fact("vocabulary",
         fmt::format("{} tokens, digest {}", tokenizer_.vocabulary(), to_hex(tokenizer_.hash())));
    fact("context", fmt::format("{} tokens", job_.data.context));
    fact("format", fmt::format("{}, {}", request_.format, request_.type));
    if (type_ != ElementType::kF32) fact("rounding", rounding());
    fact("checkpoint", request_.from);
    const std::string digest = kept_data_digest(request_.checkpoint);
    fact("data", digest.empty() ? "not known" : "digest " + digest);
    fact("evaluation", request_.evaluation.empty() ? "none of this model" : request_.evaluation);
    return card;
  }

  Context& cx_;
  const Recipe& recipe_;
  const LanguageModelRecipe& job_;
  const Tokenizer& tokenizer_;
  LanguageModelTask& task_;
  const ExportRequest& request_;
  ElementType type_;
  double rounding_ = 0.0;
};

}  // namespace

std::string export_decoder(Context& cx, const Recipe& recipe, const Tokenizer& tokenizer,
                           LanguageModelTask& task, const ExportRequest& request) {
  DecoderExport of_run(cx, recipe, tokenizer, task, request);
  const ExportContents contents = of_run.contents();
  if (request.verify) {
    verify_export(request.folder, contents);
    return fmt::format("{}: is what {} gives as {}, {}", request.folder, request.from,
                       request.format, request.type);
  }
  write_export(request.folder, contents);
  const std::string rounding = of_run.rounding();
  return fmt::format("{}: {} as {}, {}, read back and compared{}{}", request.folder, request.from,
                     request.format, request.type, rounding.empty() ? "" : "; ", rounding);
}

}  // namespace gradwire
