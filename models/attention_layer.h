// Self-attention with rotary positions and grouped key/value heads, as in LLaMA:
// {path}.{q,k,v,o}_proj.weight, no biases.
#pragma once

#include "models/adapters/adaptation.h"
#include "models/module.h"

namespace gradwire {

struct AttentionConfig {
  std::int64_t width = 0;     // D
  std::int64_t heads = 1;     // H, divides D; head width D/H is even
  std::int64_t kv_heads = 1;  // divides H
  double rope_theta = 10000.0;
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
  Var forward(Context& cx, Tape& tape, Var x, KvCache* cache = nullptr,
              const Adaptation& adapted = {});
  void add_sites(std::vector<Site>& sites);
  void visit_params(const Visitor& f) override;
  KvCache make_cache(Context& cx, std::int64_t capacity, DType dtype) const;

 private:
  AttentionConfig config_;
  Parameter q_, k_, v_, o_;
};

}  // namespace gradwire
