#include "train/evaluation.h"

#include <algorithm>
#include <cmath>

#include "parallel/agreement.h"

namespace gradwire {

std::optional<Evaluation> evaluate(Context& cx, Communicator& world, Pipeline& pipeline, Task& task,
                                   std::int64_t max_batches) {
  constexpr std::int64_t kAtOnce = 64;  // batches that are in the pipeline together
  const std::int64_t all = task.validation_batches();
  const std::int64_t count = max_batches > 0 ? std::min(max_batches, all) : all;
  double loss = 0.0, tokens = 0.0;
  for (std::int64_t first = 0; first < count; first += kAtOnce) {
    const auto micros = static_cast<int>(std::min(kAtOnce, count - first));
    const std::vector<double> losses = pipeline.evaluate(cx, task.validation(first), micros);
    for (std::size_t i = 0; i < losses.size(); ++i) {
      const auto here =
          static_cast<double>(task.validation_tokens(first + static_cast<std::int64_t>(i)));
      loss += losses[i] * here;
      tokens += here;
    }
  }
  loss = sum_over_ranks(cx, world, loss);
  tokens = sum_over_ranks(cx, world, tokens);
  if (tokens == 0.0) return std::nullopt;
  return Evaluation{loss / tokens, std::llround(tokens)};
}

}  // namespace gradwire
