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
  // Several samples in a row, of which each sees itself alone: i32 [B, T] in host memory, for each
  // query the position at which its sample begins; never less than for the query before, and 0 or
  // more. Empty: a row is one sample. For causal attention of a row with itself, on CPUs.
  Tensor sample_starts{};
};

// Refuses sample_starts that are not those of `batch` rows of `tokens`, or are on a device that has
// no kernels for them; `who` asks. Errors: kShape, kConfig; kData for starts that go back, or that
// lie behind their token.
void check_sample_starts(const Context& cx, const char* who, const Tensor& starts,
                         std::int64_t batch, std::int64_t tokens);

// q [B, T, heads*Dh], k and v [B, S, kv_heads*Dh] -> [B, T, heads*Dh]. With causal, query t sees
// keys 0 .. query_start + t; with sample_starts, keys sample_starts[b, t] .. t.
Var attention(Context& cx, Tape& tape, Var q, Var k, Var v, const AttentionOptions& options);

}  // namespace gradwire
