// Whole models written and read back with the reader of foreign decoders; adapters under the names
// that PEFT and llama.cpp have. That those programs compute the same with them:
// tests/engines/export_test.py.
#include "export/decoder_export.h"

#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "core/file.h"
#include "core/weight_files/blocks.h"
#include "core/weight_files/safetensors.h"
#include "export/adapter_export.h"
#include "export/export_folder.h"
#include "export/safetensors_writer.h"
#include "models/formats/decoder_format.h"
#include "models/formats/decoder_names.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using nlohmann::json;
using test::expect_error;

DecoderConfig tiny() {
  DecoderConfig c;
  c.vocab = 11;
  c.layers = 2;
  c.width = 32;
  c.heads = 4;
  c.kv_heads = 2;
  c.ffn_width = 64;
  c.rope_theta = 5000.0;
  return c;
}

void shake(Context& cx, Module& module) {
  module.visit_params([&](Parameter& p) {
    fill_normal(cx, p.value, Rng{derive_seed(2, p.name), 0}, 0.5);
  });
}

using Values = std::map<std::string, std::vector<float>>;
Values values_of(Context& cx, Module& module) {
  Values values;
  module.visit_params([&](Parameter& p) { values[p.name] = p.value.to_host<float>(cx); });
  return values;
}

ExportContents contents(Context& cx, DecoderLm& model, const std::string& format,
                        ElementType type) {
  ExportContents out;
  if (format == "hf") {
    out.files = hugging_face_configs(model.config(), {.bos = 1, .eos = 2}, 77, type);
    out.safetensors.push_back({"model", hugging_face_tensors(cx, model, type)});
  } else {
    out.gguf.push_back({"model.gguf", gguf_decoder_keys(model.config(), "tiny", 77, type),
                        gguf_decoder_tensors(cx, model, type)});
  }
  return out;
}

class DecoderExport : public ::testing::Test {
 protected:
  ForeignDecoder round_trip(DecoderLm& model, const std::string& format, ElementType type) {
    const std::string out = folder.file(format + name_of(type) + std::to_string(made++));
    const ExportContents wanted = contents(cx, model, format, type);
    write_export(out, wanted);
    verify_export(out, wanted);
    ForeignDecoder read = ForeignDecoder::open(format == "hf" ? out : out + "/model.gguf");
    read.check_tensors();
    return read;
  }
  void expect_same_config(const DecoderConfig& a, const DecoderConfig& b) {
    EXPECT_EQ(a.vocab, b.vocab);
    EXPECT_EQ(a.layers, b.layers);
    EXPECT_EQ(a.width, b.width);
    EXPECT_EQ(a.heads, b.heads);
    EXPECT_EQ(a.kv_heads, b.kv_heads);
    EXPECT_EQ(a.resolved_head_width(), b.resolved_head_width());
    EXPECT_EQ(a.ffn_width, b.ffn_width);
    EXPECT_FLOAT_EQ(static_cast<float>(a.rope_theta), static_cast<float>(b.rope_theta));
    EXPECT_FLOAT_EQ(static_cast<float>(a.norm_eps), static_cast<float>(b.norm_eps));
    EXPECT_EQ(a.tie_embeddings, b.tie_embeddings);
    EXPECT_EQ(a.qkv_bias, b.qkv_bias);
    EXPECT_EQ(a.qk_norm, b.qk_norm);
  }

  Runtime runtime;
  Context& cx = runtime.context();
  test::TempFolder folder;
  int made = 0;
};

TEST_F(DecoderExport, EveryFamilyComesBackAsItWas) {
  DecoderConfig untied = tiny(), wide = tiny(), qwen2 = tiny(), qwen3 = tiny();
  untied.tie_embeddings = false;
  wide.head_width = 12;
  qwen2.qkv_bias = true;
  qwen3.qk_norm = true;
  for (const DecoderConfig& config : {tiny(), untied, wide, qwen2, qwen3}) {
    for (const char* format : {"hf", "gguf"}) {
      SCOPED_TRACE(format);
      DecoderLm model(cx, config);
      shake(cx, model);
      const ForeignDecoder read = round_trip(model, format, ElementType::kF32);
      expect_same_config(read.config(), config);
      EXPECT_EQ(read.context(), 77);
      DecoderLm back(cx, read.config());
      read.load(cx, back);
      EXPECT_EQ(values_of(cx, back), values_of(cx, model));
    }
  }
}

TEST_F(DecoderExport, NarrowTypesRoundWhatTheyHold) {
  DecoderLm model(cx, tiny());
  shake(cx, model);
  const Values values = values_of(cx, model);
  const std::pair<const char*, ElementType> cases[] = {
      {"hf", ElementType::kF16},    {"hf", ElementType::kBf16},   {"gguf", ElementType::kF16},
      {"gguf", ElementType::kBf16}, {"gguf", ElementType::kQ8_0}, {"gguf", ElementType::kQ4_0}};
  for (const auto& [format, type] : cases) {
    SCOPED_TRACE(name_of(type));
    const ForeignDecoder read = round_trip(model, format, type);
    DecoderLm back(cx, read.config());
    read.load(cx, back);
    const bool gguf = std::string(format) == "gguf";
    for (const auto& [name, found] : values_of(cx, back)) {
      const std::vector<float>& was = values.at(name);
      const bool is_matrix = was.size() > 64;
      ElementType as = gguf && !is_matrix ? ElementType::kF32 : type;
      // The embedding keeps eight bits.
      if (as == ElementType::kQ4_0 && name == kEmbeddingName) as = ElementType::kQ8_0;
      std::vector<std::byte> bytes(static_cast<std::size_t>(
          std::ssize(was) / layout_of(as).block_elements * layout_of(as).block_bytes));
      std::vector<float> want(was.size());
      encode(as, was, bytes);
      decode(as, bytes, want);
      EXPECT_EQ(found, want) << name;
    }
  }
}

TEST_F(DecoderExport, TheConfigHasTheSpellingsOfOldAndNewReaders) {
  DecoderLm model(cx, tiny());
  const SmallFiles files =
      hugging_face_configs(model.config(), {.bos = 1, .eos = 2}, 77, ElementType::kBf16);
  ASSERT_EQ(files.front().first, "config.json");
  const json config = json::parse(files.front().second);
  EXPECT_EQ(config["architectures"], json({"LlamaForCausalLM"}));
  EXPECT_EQ(config["rope_theta"], 5000.0);
  EXPECT_EQ(config["rope_parameters"]["rope_theta"], 5000.0);
  EXPECT_EQ(config["torch_dtype"], "bfloat16");
  EXPECT_EQ(config["dtype"], "bfloat16");
  EXPECT_EQ(config["head_dim"], 8);
  EXPECT_EQ(config["eos_token_id"], 2);
  EXPECT_TRUE(config["pad_token_id"].is_null());
}

TEST_F(DecoderExport, ShardsHoldEveryTensorOnce) {
  DecoderLm model(cx, tiny());
  shake(cx, model);
  const OwnedTensors owned = hugging_face_tensors(cx, model, ElementType::kF32);
  constexpr std::int64_t kSmall = 10000;
  write_safetensors_folder(folder.path().string(), "model", owned.tensors, kSmall);
  EXPECT_GT(folder.entries(), 3);
  EXPECT_FALSE(std::filesystem::exists(folder.file("model.safetensors")));
  compare_tensors("shards", read_safetensors_folder(folder.path().string()), owned.tensors);
}

TEST_F(DecoderExport, NothingIsLeftOfWhatFails) {
  DecoderLm model(cx, tiny());
  const ExportContents good = contents(cx, model, "hf", ElementType::kF32);
  const std::string out = folder.write("there", "mine");
  expect_error(ErrorKind::kUsage, "is there already", [&] { write_export(out, good); });
  expect_error(ErrorKind::kUsage, "no such folder",
               [&] { write_export(folder.file("none/out"), good); });
  model.visit_params([&](Parameter& p) { fill(cx, p.value, 1e30); });
  expect_error(ErrorKind::kData, "cannot be written as F16", [&] {
    write_export(folder.file("out"), contents(cx, model, "hf", ElementType::kF16));
  });
  EXPECT_EQ(read_text(out), "mine");
  EXPECT_EQ(folder.entries(), 1);
}

TEST_F(DecoderExport, VerifyingNamesWhatDiffers) {
  DecoderLm model(cx, tiny());
  const std::string out = folder.file("out");
  write_export(out, contents(cx, model, "hf", ElementType::kF32));
  Parameter* const first = parameters_of(model).front();
  fill(cx, first->value, 3.0);
  expect_error(ErrorKind::kData, "tensor 'model.embed_tokens.weight' reads back other",
               [&] { verify_export(out, contents(cx, model, "hf", ElementType::kF32)); });
  expect_error(ErrorKind::kData, "config.json: is not what this checkpoint gives",
               [&] { verify_export(out, contents(cx, model, "hf", ElementType::kF16)); });
  expect_error(ErrorKind::kData, "model.gguf",
               [&] { verify_export(out, contents(cx, model, "gguf", ElementType::kF32)); });
}

// A model with an adapter whose values are those of shake().
struct Adapted {
  Adapted(Context& cx, const AdapterConfig& made_of)
      : config(made_of), model(cx, tiny()), set(cx, model.sites(), config, {"default"}) {
    shake(cx, set);
  }
  AdapterToExport get() { return {model, set, 0, config, "base"}; }
  AdapterConfig config;
  DecoderLm model;
  AdapterSet set;
};

TEST_F(DecoderExport, PeftFoldersHaveItsNames) {
  AdapterConfig dora;
  dora.method = AdapterMethod::kDora;
  dora.targets = {"*.q_proj", "*.v_proj"};
  Adapted adapted(cx, dora);
  const json config = json::parse(peft_config(adapted.get()).front().second);
  EXPECT_EQ(config["target_modules"], json({"q_proj", "v_proj"}));
  EXPECT_EQ(config["use_dora"], true);
  EXPECT_EQ(config["r"], 8);
  const OwnedTensors owned = peft_tensors(cx, adapted.get(), ElementType::kF32);
  std::map<std::string, Shape> shapes;
  for (const TensorToWrite& t : owned.tensors)
    shapes.emplace(t.name, t.shape);
  const std::string v = "base_model.model.model.layers.1.self_attn.v_proj.";
  EXPECT_EQ(shapes.size(), 12U);
  EXPECT_EQ(shapes.at(v + "lora_A.weight"), (Shape{8, 32}));
  EXPECT_EQ(shapes.at(v + "lora_B.weight"), (Shape{16, 8}));
  EXPECT_EQ(shapes.at(v + "lora_magnitude_vector"), (Shape{16}));
}

TEST_F(DecoderExport, PeftTakesWholeNamesOfSomeLayers) {
  AdapterConfig lora;
  lora.targets = {"model.layers.0.*.q_proj"};
  Adapted adapted(cx, lora);
  const json config = json::parse(peft_config(adapted.get()).front().second);
  EXPECT_EQ(config["target_modules"], json({"model.layers.0.self_attn.q_proj"}));
}

TEST_F(DecoderExport, PeftHasVectorsOfIa3AsColumnsAndRows) {
  AdapterConfig ia3;
  ia3.method = AdapterMethod::kIa3;
  Adapted adapted(cx, ia3);
  const json config = json::parse(peft_config(adapted.get()).front().second);
  EXPECT_EQ(config["target_modules"], json({"down_proj", "k_proj", "v_proj"}));
  EXPECT_EQ(config["feedforward_modules"], json({"down_proj"}));
  const OwnedTensors owned = peft_tensors(cx, adapted.get(), ElementType::kF32);
  std::map<std::string, Shape> shapes;
  for (const TensorToWrite& t : owned.tensors)
    shapes.emplace(t.name, t.shape);
  const std::string first = "base_model.model.model.layers.0.";
  EXPECT_EQ(shapes.at(first + "mlp.down_proj.ia3_l"), (Shape{1, 64}));
  EXPECT_EQ(shapes.at(first + "self_attn.k_proj.ia3_l"), (Shape{16, 1}));
}

TEST_F(DecoderExport, GgufLoraHasTheRowsAndScaleOfLlamaCpp) {
  AdapterConfig lora;
  lora.rslora = true;
  lora.rank = 4;
  Adapted adapted(cx, lora);
  const std::string path = folder.file("adapter.gguf");
  const OwnedTensors owned = gguf_lora_tensors(cx, adapted.get(), ElementType::kF32);
  write_gguf(path, gguf_lora_keys(adapted.get(), "tiny"), owned.tensors);
  const GgufFile file = GgufFile::open(path);
  EXPECT_EQ(file.text("general.type"), "adapter");
  EXPECT_EQ(file.text("adapter.type"), "lora");
  // alpha / rank is to be 16 / sqrt(4).
  EXPECT_EQ(file.number("adapter.lora.alpha"), 32.0);
  EXPECT_EQ(file.tensors().at("blk.1.ffn_down.weight.lora_a").shape, (Shape{4, 64}));
  std::vector<float> b = decode(file.tensors().at("blk.0.attn_k.weight.lora_b"));
  from_gguf_order(b, 2, 8);
  EXPECT_EQ(b,
            values_of(cx, adapted.set).at("model.layers.0.self_attn.k_proj.lora_B.default.weight"));
}

TEST_F(DecoderExport, FormatsRefuseAdaptersThatTheyCannotHold) {
  AdapterConfig houlsby, dora;
  houlsby.method = AdapterMethod::kHoulsby;
  dora.method = AdapterMethod::kDora;
  Adapted bottleneck(cx, houlsby), decomposed(cx, dora);
  expect_error(ErrorKind::kConfig, "a PEFT folder cannot hold an adapter of the method 'houlsby'",
               [&] { peft_config(bottleneck.get()); });
  expect_error(ErrorKind::kConfig, "a GGUF adapter cannot hold an adapter of the method 'dora'",
               [&] { gguf_lora_keys(decomposed.get(), ""); });
}

}  // namespace
}  // namespace gradwire
