// How attention on the CPU is cut into tasks and blocks of scores, the same for every way in which
// its products are made.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/ops/attention/attention_kernels.h"
#include "core/parallel_for.h"

namespace gradwire::cpu {

// Scores are made 64 x 256 at a time, which stays in the first- and second-level caches; a task
// covers 256 queries, so that keys and values are widened once for all of them.
inline constexpr std::int64_t kQueryBlock = 64, kKeyBlock = 256, kTaskQueries = 256;

// Rows of one head inside a tensor [B, T, heads * D].
template <class T>
struct HeadRows {
  T* data;
  std::int64_t ld;
  T* row(std::int64_t i) const { return data + i * ld; }
};

template <class T>
HeadRows<T> head_rows(const Tensor& t, std::int64_t batch, std::int64_t head, std::int64_t width) {
  using Stored = std::remove_const_t<T>;
  return {t.data<Stored>() + batch * t.dim(1) * t.dim(2) + head * width, t.dim(2)};
}

// How many of the keys from `first_key` on the query sees.
inline std::int64_t seen_from(const AttentionShape& s, std::int64_t query, std::int64_t first_key) {
  const std::int64_t all = s.keys - first_key;
  return s.causal ? std::min(all, s.query_start + query + 1 - first_key) : all;
}

// Where the queries' samples start, or null.
inline const std::int32_t* starts_of(const AttentionShape& s, std::int64_t batch,
                                     std::int64_t query) {
  return s.starts == nullptr ? nullptr : s.starts + batch * s.queries + query;
}

// The first block of keys that queries from `query` on see: no later query sees any before it.
inline std::int64_t first_key(const AttentionShape& s, std::int64_t batch, std::int64_t query) {
  const std::int32_t* const start = starts_of(s, batch, query);
  return start == nullptr ? 0 : *start / kKeyBlock * kKeyBlock;
}

// The block of scores of `rows` queries from `query` with the keys from `key`; cols <= 0 if they
// see none of them.
template <class C>
ScoreBlock<C> score_block(const AttentionShape& s, std::int64_t batch, std::int64_t query,
                          std::int64_t rows, std::int64_t key, C* scores) {
  const std::int64_t cols = std::min(kKeyBlock, seen_from(s, query + rows - 1, key));
  const std::int64_t seen = s.causal ? s.query_start + query + 1 - key : cols;
  return {scores, rows, cols, static_cast<C>(s.scale), seen, starts_of(s, batch, query), key};
}

// Over the threads, unless there is too little to do to wake them.
template <class F>
void run_tasks(const AttentionShape& s, std::int64_t tasks, const F& task) {
  constexpr std::int64_t kAlone = 1 << 17;
  const bool alone = s.batch * s.heads * s.queries * s.keys * s.width <= kAlone;
  parallel_for(tasks, alone ? tasks : 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) {
      task(index);
    }
  });
}

}  // namespace gradwire::cpu
