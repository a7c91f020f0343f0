// A LLaMA-style decoder language model: pre-norm blocks of rotary attention and a gated
// feed-forward layer, RMSNorm at the end, head tied to the embedding or of its own. With biases or
// norms of queries and keys it is a Qwen2 or Qwen3. Parameter names are those of Hugging Face's
// LlamaForCausalLM and its relatives.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/unit_range.h"
#include "models/adapters/adaptation.h"
#include "models/attention_layer.h"
#include "models/gated_mlp.h"
#include "models/module.h"

namespace gradwire {

struct DecoderConfig {
  std::int64_t vocab = 0;  // V
  std::int64_t layers = 0;
  std::int64_t width = 0;  // D
  std::int64_t heads = 1;  // H
  std::int64_t kv_heads = 1;
  std::int64_t head_width = 0;  // Dh; 0: D/H
  std::int64_t ffn_width = 0;   // F
  double rope_theta = 10000.0;
  double norm_eps = 1e-5;
  bool tie_embeddings = true;
  bool qkv_bias = false;        // biases of the query, key and value projections
  bool qk_norm = false;         // RMSNorm of each head of queries and keys
  double dropout = 0.0;         // after attention and feed-forward, before the residual sum
  DType compute = DType::kF32;  // of activations and matrix products: f32 or bf16
  bool recompute = false;  // backward runs each block again instead of keeping what it computed

  std::int64_t resolved_head_width() const { return head_width == 0 ? width / heads : head_width; }
};
// Throws Error(kConfig) naming the fields that do not fit.
void check_config(const DecoderConfig& c);
// Elements of the parameters of such a model, and their shapes by name, without making it.
std::int64_t parameter_count(const DecoderConfig& c);
std::map<std::string, Shape> parameter_shapes(const DecoderConfig& c);

// Where adapters may be attached to such a model, without making it: sites without weights.
std::vector<Site> decoder_sites(const DecoderConfig& c);

// The units that stages of a pipeline are made of (core/unit_range.h): 0 is the embedding, then
// come the blocks, and last the norm and the head.
int unit_count(const DecoderConfig& c);

// The parameter that both ends of a model with tied embeddings hold.
inline constexpr const char* kEmbeddingName = "model.embed_tokens.weight";

class DecoderBlock final : public Module {
 public:
  DecoderBlock(Context& cx, const std::string& path, const DecoderConfig& config);
  // [B, T, D] -> the same; sample_starts as in AttentionLayer.
  Var forward(Context& cx, Tape& tape, Var x, KvCache* cache = nullptr,
              const Adaptation& adapted = {}, const Tensor& sample_starts = {});
  void add_sites(std::vector<Site>& sites);
  const std::string& path() const { return path_; }
  void visit_params(const Visitor& f) override;
  const AttentionLayer& attention() const { return attention_; }

 private:
  // norm -> layer -> what is adapted at `site` -> dropout -> + x
  template <class Layer>
  Var residual(Context& cx, Tape& tape, Var x, Parameter& norm, const std::string& site,
               const Adaptation& adapted, const Layer& layer);
  std::string attention_site() const { return path_ + ".self_attn"; }
  std::string mlp_site() const { return path_ + ".mlp"; }

  std::string path_;
  double norm_eps_, dropout_;
  Parameter input_norm_, post_norm_;
  AttentionLayer attention_;
  GatedMlp mlp_;
};

class DecoderLm final : public Module {
 public:
  // Weights are normal with deviation 0.02, the two projections into the residual stream with
  // 0.02 / sqrt(2 * layers) (Radford et al., "GPT-2", 2019); seeded by cx.rng.seed and the names.
  DecoderLm(Context& cx, const DecoderConfig& config);
  // Of the whole model only these units, with the weights that they have in the whole. A tied
  // embedding is made for either of its ends.
  DecoderLm(Context& cx, const DecoderConfig& config, std::span<const UnitRange> here);

  const DecoderConfig& config() const { return config_; }
  // ids i32 [B, T] -> logits [B, T, V] of the compute type.
  Var logits(Context& cx, Tape& tape, const Tensor& ids, const Adaptation& adapted = {});
  // Generation: ids [1, T] follow what the caches hold; logits [1, 1, V] of the last token only.
  Var next_logits(Context& cx, Tape& tape, const Tensor& ids, std::vector<KvCache>& caches);
  // One per block; empty for those that are not here.
  std::vector<KvCache> make_caches(Context& cx, std::int64_t capacity) const;

  // The same by parts: what the units give for ids and x, the result of the units before (none
  // before the first). Dropout draws from a stream of each unit, derived from cx.rng.seed. Errors:
  // kUsage for units that are not here. Without caches, a row may hold several samples, which
  // `sample_starts` tells apart (AttentionOptions): each gets what it gets alone in a row.
  Var forward(Context& cx, Tape& tape, UnitRange units, const Tensor& ids, Var x,
              std::vector<KvCache>* caches = nullptr, const Adaptation& adapted = {},
              const Tensor& sample_starts = {});
  // Where adapters may be attached, of the units that are here.
  std::vector<Site> sites();
  void visit_params(const Visitor& f) override;

 private:
  bool has_embedding() const;
  Var unit(Context& cx, Tape& tape, int index, const Tensor& ids, Var x, KvCache* cache,
           const Adaptation& adapted, const Tensor& sample_starts);
  Var block(Context& cx, Tape& tape, DecoderBlock& b, Var x, KvCache* cache,
            const Adaptation& adapted, const Tensor& sample_starts);
  Var head(Context& cx, Tape& tape, Var x);

  DecoderConfig config_;
  std::vector<bool> here_;  // by unit
  Parameter embedding_, norm_, head_;
  std::vector<std::unique_ptr<DecoderBlock>> blocks_;  // null if not here
};

}  // namespace gradwire
