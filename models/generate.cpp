#include "models/generate.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "core/error.h"

namespace gradwire {
namespace {

// Ids of the k largest logits, largest first.
std::vector<std::int32_t> largest(std::span<const float> logits, std::int64_t k) {
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto middle = ids.begin() + std::min<std::int64_t>(k, std::ssize(ids));
  std::partial_sort(ids.begin(), middle, ids.end(), [&](std::int32_t a, std::int32_t b) {
    const float x = logits[static_cast<std::size_t>(a)];
    const float y = logits[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
  ids.erase(middle, ids.end());
  return ids;
}

}  // namespace

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options, double u) {
  check(!logits.empty(), ErrorKind::kShape, "sample_token: no logits");
  const auto vocab = std::ssize(logits);
  const bool greedy = options.temperature <= 0.0;
  const std::int64_t k = greedy ? 1 : options.top_k > 0 ? options.top_k : vocab;
  const std::vector<std::int32_t> ids = largest(logits, k);
  if (greedy) return ids.front();

  const float top = logits[static_cast<std::size_t>(ids.front())];
  std::vector<double> mass(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const double gap = logits[static_cast<std::size_t>(ids[i])] - top;
    mass[i] = std::exp(gap / options.temperature) + (i > 0 ? mass[i - 1] : 0.0);
  }
  const auto drawn = std::upper_bound(mass.begin(), mass.end(), u * mass.back());
  const auto place = std::min<std::ptrdiff_t>(drawn - mass.begin(), std::ssize(ids) - 1);
  return ids[static_cast<std::size_t>(place)];
}

NextLogits next_logits_of(Context& cx, DecoderLm& model, std::int64_t capacity) {
  const auto caches = std::make_shared<std::vector<KvCache>>(model.make_caches(cx, capacity));
  return [&model, caches](Context& c, const Tensor& ids) {
    Tape tape(/*recording=*/false);
    return tape.value(model.next_logits(c, tape, ids, *caches)).to_host<float>(c);
  };
}

std::vector<std::int32_t> generate(Context& cx, const NextLogits& next,
                                   std::span<const std::int32_t> prompt,
                                   const SamplingOptions& options,
                                   const std::function<void(std::int32_t)>& on_token) {
  check(!prompt.empty(), ErrorKind::kUsage, "generate: the prompt has no token");
  std::vector<std::int32_t> fresh(prompt.begin(), prompt.end());
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < options.max_tokens; ++i) {
    const std::vector<float> row = next(cx, Tensor::from(cx, {1, std::ssize(fresh)}, fresh));
    const double u = to_uniform(random_word(options.seed, static_cast<std::uint64_t>(i)));
    const std::int32_t token = sample_token(row, options, u);
    if (token == options.stop_id) break;
    out.push_back(token);
    if (on_token) on_token(token);
    fresh.assign(1, token);
  }
  return out;
}

std::vector<std::int32_t> generate(Context& cx, DecoderLm& model,
                                   std::span<const std::int32_t> prompt,
                                   const SamplingOptions& options) {
  const std::int64_t capacity = std::ssize(prompt) + options.max_tokens;
  return generate(cx, next_logits_of(cx, model, capacity), prompt, options);
}

}  // namespace gradwire
