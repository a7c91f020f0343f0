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
  LossSum sum;
  for (std::int64_t first = 0; first < count; first += kAtOnce) {
    const auto micros = static_cast<int>(std::min(kAtOnce, count - first));
    StageModel& model = task.validation(first);
    sum.add(model, pipeline.evaluate(cx, model, micros));
  }
  const double loss = sum_over_ranks(cx, world, sum.loss);
  const double tokens = sum_over_ranks(cx, world, sum.weight);
  if (tokens == 0.0) return std::nullopt;
  return Evaluation{loss / tokens, std::llround(tokens)};
}

}  // namespace gradwire
