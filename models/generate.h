// Sampling text from a decoder language model, one token at a time, with a key/value cache.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "models/decoder_lm.h"

namespace gradwire {

struct SamplingOptions {
  std::int64_t max_tokens = 64;
  double temperature = 0.8;   // 0: always the most likely token
  std::int64_t top_k = 40;    // sample among the k most likely; 0: among all
  std::int32_t stop_id = -1;  // ends the text; -1: none
  std::uint64_t seed = 1;
};

// Draws one token from logits [V]: softmax of logits / temperature over the top k, by the uniform
// number u in [0, 1). Ties go to the smaller id.
std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, double u);

// Logits [V] of the token that follows: called with the ids i32 [1, T] that come after those of
// earlier calls.
using NextLogits = std::function<std::vector<float>(Context& cx, const Tensor& ids)>;
// Of a whole model, with room for `capacity` tokens in its caches. The model must outlive it.
NextLogits next_logits_of(Context& cx, DecoderLm& model, std::int64_t capacity);

// Continues `prompt` (at least one token) and gives the new tokens, the stop token left out.
// `on_token`, if any, is called with each as soon as it is drawn.
std::vector<std::int32_t> generate(Context& cx, const NextLogits& next,
                                   std::span<const std::int32_t> prompt,
                                   const SamplingOptions& options,
                                   const std::function<void(std::int32_t)>& on_token = {});
std::vector<std::int32_t> generate(Context& cx, DecoderLm& model,
                                   std::span<const std::int32_t> prompt,
                                   const SamplingOptions& options);

}  // namespace gradwire
