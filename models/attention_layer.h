// Self-attention with rotary positions and grouped key/value heads, as in LLaMA:
// {path}.{q,k,v,o}_proj.weight. If asked for, {q,k,v}_proj.bias as in Qwen2, and as in Qwen3
// {q,k}_norm.weight: an RMSNorm of each head of queries and keys before they are turned.
#pragma once

#include "models/adapters/adaptation.h"
#include "models/module.h"

namespace gradwire {

struct AttentionConfig {
  std::int64_t width = 0;       // D
  std::int64_t heads = 1;       // H
  std::int64_t kv_heads = 1;    // divides H
  std::int64_t head_width = 0;  // Dh, even
  double rope_theta = 10000.0;
  bool qkv_bias = false;
  bool qk_norm = false;
  double norm_eps = 1e-5;  // of qk_norm
};

// Keys and values of the tokens seen so far in one sequence, for generation.
struct KvCache {
  Tensor keys, values;      // [capacity, kv_heads*Dh]
  std::int64_t length = 0;  // rows filled
};

class AttentionLayer final : public Module {
 public:
  AttentionLayer(Context& cx, const std::string& path, const AttentionConfig& config,
                 double init_stddev, double out_stddev);
  // x [B, T, D] -> [B, T, D], causal. With a cache, B is 1 and the T tokens follow those in it.
  // Without one, `sample_starts` tells several samples in a row apart (AttentionOptions); empty: a
  // row is one.
  Var forward(Context& cx, Tape& tape, Var x, KvCache* cache = nullptr,
              const Adaptation& adapted = {}, const Tensor& sample_starts = {});
  void add_sites(std::vector<Site>& sites);
  void visit_params(const Visitor& f) override;
  KvCache make_cache(Context& cx, std::int64_t capacity, DType dtype) const;

 private:
  // Queries or keys: projected, normed if asked for, and turned by their positions from `start` on,
  // in each sample anew.
  Var turned(Context& cx, Tape& tape, Var x, const Adaptation& adapted, Parameter& weight,
             Parameter& bias, Parameter& norm, std::int64_t start, const Tensor& sample_starts);

  AttentionConfig config_;
  Parameter q_, k_, v_, o_;
  Parameter q_bias_, k_bias_, v_bias_;  // empty unless config.qkv_bias
  Parameter q_norm_, k_norm_;           // empty unless config.qk_norm
};

}  // namespace gradwire
