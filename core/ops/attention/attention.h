// Multi-head scaled dot-product attention with grouped key/value heads, block by block: the T x S
// score matrix never exists as a whole, and backward recomputes it from the row log-sum-exp (Dao et
// al., "FlashAttention", NeurIPS 2022; Dao, "FlashAttention-2", 2023).
#pragma once

#include "core/tape.h"

namespace gradwire {

struct AttentionOptions {
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;  // divides heads; each serves heads / kv_heads query heads
  bool causal = true;
  double scale = 0.0;  // of the scores; 0 means 1 / sqrt(head width)
  std::int64_t query_start =
      0;  // position of the first query among the keys (decoding with a cache)
};

// q [B, T, heads*Dh], k and v [B, S, kv_heads*Dh] -> [B, T, heads*Dh]. With causal, query t sees
// keys 0 .. query_start + t.
Var attention(Context& cx, Tape& tape, Var q, Var k, Var v, const AttentionOptions& options);

}  // namespace gradwire
