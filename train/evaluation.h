// The loss over a task's validation data, through the pipeline.
#pragma once

#include <cstdint>
#include <optional>

#include "parallel/pipeline/pipeline.h"
#include "train/task.h"

namespace gradwire {

struct Evaluation {
  double loss = 0.0;  // mean over all tokens of all ranks, in nats
  std::int64_t tokens = 0;
};
// At most `max_batches` batches of each replica (0: all). Nothing if the task has no validation
// data: there is no loss then, not even 0. The same on all ranks of `world`. Collective.
std::optional<Evaluation> evaluate(Context& cx, Communicator& world, Pipeline& pipeline, Task& task,
                                   std::int64_t max_batches);

}  // namespace gradwire
