// Foreign decoders: names, orders of rows, and what is refused. That the weights land in their
// places is shown against llama.cpp (tests/engines/logits_test.py).
#include "models/formats/decoder_format.h"

#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/formats/decoder_names.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using nlohmann::json;
using test::expect_error;

TEST(DecoderNames, AreThoseOfGguf) {
  EXPECT_EQ(gguf_name("model.embed_tokens.weight"), "token_embd.weight");
  EXPECT_EQ(gguf_name("model.layers.12.self_attn.q_proj.bias"), "blk.12.attn_q.bias");
  EXPECT_EQ(gguf_name("model.layers.0.post_attention_layernorm.weight"), "blk.0.ffn_norm.weight");
  EXPECT_EQ(gguf_name("lm_head.weight"), "output.weight");
  for (const char* name :
       {"weight", "model.layers.", "model.layers.3", "model.layers.3.other.weight"})
    expect_error(ErrorKind::kUsage, name, [&] { gguf_name(name); });
}

TEST(DecoderNames, RowsGoToGgufAndBack) {
  constexpr std::int64_t kHeads = 2, kWidth = 6, kRow = 2;
  std::vector<float> rows(kHeads * kWidth * kRow);
  std::iota(rows.begin(), rows.end(), 0.0F);
  std::vector<float> moved = rows;
  to_gguf_order(moved, kHeads, kWidth);
  // GGUF has element j of the first half beside element j of the second.
  for (const std::int64_t h : {0, 1}) {
    for (const std::int64_t j : {0, 1, 2}) {
      const auto at = [&](std::int64_t row) { return static_cast<std::size_t>(row * kRow); };
      EXPECT_EQ(moved[at(h * kWidth + 2 * j)], rows[at(h * kWidth + j)]);
      EXPECT_EQ(moved[at(h * kWidth + 2 * j + 1)], rows[at(h * kWidth + j + 3)]);
    }
  }
  from_gguf_order(moved, kHeads, kWidth);
  EXPECT_EQ(moved, rows);
}

// A folder of Hugging Face, with weights counted up from 0.
class Folder : public ::testing::Test {
 protected:
  Folder() {
    config_ = {{"model_type", "llama"},
               {"vocab_size", 11},
               {"hidden_size", 8},
               {"num_hidden_layers", 1},
               {"num_attention_heads", 2},
               {"num_key_value_heads", 1},
               {"intermediate_size", 12},
               {"rms_norm_eps", 1e-6},
               {"rope_theta", 500.0},
               {"tie_word_embeddings", false},
               {"max_position_embeddings", 64}};
    decoder_ = {.vocab = 11, .layers = 1, .width = 8, .heads = 2, .kv_heads = 1, .ffn_width = 12};
    decoder_.tie_embeddings = false;
  }
  std::string write() {
    folder_.write("config.json", config_.dump());
    json header;
    std::string data;
    for (const auto& [name, shape] : parameter_shapes(decoder_)) {
      if (name == left_out_) continue;
      const std::size_t begin = data.size();
      for (std::int64_t i = 0; i < shape.numel(); ++i) {
        const auto value = static_cast<float>(i);
        data.append(reinterpret_cast<const char*>(&value), sizeof value);
      }
      const std::span<const std::int64_t> dims = shape.dims();
      header[name] = {{"dtype", "F32"},
                      {"shape", std::vector(dims.begin(), dims.end())},
                      {"data_offsets", {begin, data.size()}}};
    }
    const std::string text = header.dump();
    const std::uint64_t length = text.size();
    folder_.write("model.safetensors",
                  std::string(reinterpret_cast<const char*>(&length), sizeof length) + text + data);
    return folder_.path().string();
  }
  void expect_refused(const char* says) {
    const std::string path = write();
    expect_error(ErrorKind::kData, says, [&] { ForeignDecoder::open(path).check_tensors(); });
  }

  json config_;
  DecoderConfig decoder_;
  std::string left_out_;
  test::TempFolder folder_;
};

TEST_F(Folder, GivesConfigAndWeights) {
  const ForeignDecoder source = ForeignDecoder::open(write());
  source.check_tensors();
  EXPECT_EQ(source.config().head_width, 4);
  EXPECT_EQ(source.config().norm_eps, 1e-6);
  EXPECT_EQ(source.config().rope_theta, 500.0);
  EXPECT_EQ(source.context(), 64);
  Runtime runtime;
  DecoderLm model(runtime.context(), source.config());
  source.load(runtime.context(), model);
  model.visit_params([&](Parameter& p) {
    EXPECT_EQ(p.value.to_host<float>(runtime.context()).back(),
              static_cast<float>(p.value.numel() - 1))
        << p.name;
    EXPECT_EQ(p.version, 1);
  });
}

TEST_F(Folder, KnowsItsRelatives) {
  config_["model_type"] = "qwen3";
  config_["head_dim"] = 6;
  config_.erase("rope_theta");
  config_["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e6}};
  decoder_.qk_norm = true;
  decoder_.head_width = 6;
  const ForeignDecoder qwen3 = ForeignDecoder::open(write());
  qwen3.check_tensors();
  EXPECT_EQ(qwen3.config().rope_theta, 1e6);
  Runtime runtime;
  DecoderLm model(runtime.context(), qwen3.config());
  EXPECT_EQ(count_elements(parameters_of(model)), parameter_count(qwen3.config()));

  config_["model_type"] = "qwen2";
  decoder_.qk_norm = false;
  decoder_.qkv_bias = true;
  ForeignDecoder::open(write()).check_tensors();
}

TEST_F(Folder, TakesAWindowAsLongAsTheContext) {
  config_["model_type"] = "mistral";
  config_["sliding_window"] = 64;
  ForeignDecoder::open(write()).check_tensors();
  config_["sliding_window"] = 63;
  expect_refused("a sliding window of attention, over 63 of its 64 positions");
}

TEST_F(Folder, HasADigestOfItsWeights) {
  const std::string path = write();
  const std::uint64_t digest = ForeignDecoder::open(path).digest();
  EXPECT_EQ(ForeignDecoder::open(path).digest(), digest);
  config_["rope_theta"] = 501.0;
  EXPECT_NE(ForeignDecoder::open(write()).digest(), digest);
}

TEST_F(Folder, SaysWhichTensorDoesNotFit) {
  left_out_ = "model.layers.0.mlp.up_proj.weight";
  expect_refused("tensor 'model.layers.0.mlp.up_proj.weight' is missing");
  left_out_.clear();
  decoder_.ffn_width = 13;
  expect_refused("is [8, 13]; this model has [8, 12]");
  decoder_.ffn_width = 12;
  decoder_.qkv_bias = true;
  expect_refused("'model.layers.0.self_attn.k_proj.bias' is no part of this architecture");
}

TEST_F(Folder, RefusesWhatItCannotCompute) {
  const std::pair<json, const char*> cases[] = {
      {{{"model_type", "mamba"}}, "architecture 'mamba' is not supported"},
      {{{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}}}, "scaled as \"yarn\""},
      {{{"hidden_act", "gelu"}}, "activation 'gelu'"},
      {{{"mlp_bias", true}}, "biases of all projections"},
      {{{"model_type", "mistral"}, {"sliding_window", 16}}, "a sliding window"},
      {{{"num_attention_heads", 0}}, "heads 0"},
      {{{"num_attention_heads", 3}, {"head_dim", 4}, {"num_key_value_heads", 2}}, "multiple"},
      {{{"hidden_size", "wide"}}, "has no integer 'hidden_size'"},
      {{{"vocab_size", 1 << 30}}, "vocabulary 1073741824"},
      {{{"rms_norm_eps", 0}}, "must be positive"},
  };
  const json good = config_;
  for (const auto& [change, says] : cases) {
    config_ = good;
    config_.update(change);
    expect_refused(says);
  }
}

}  // namespace
}  // namespace gradwire
