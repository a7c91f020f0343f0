// Evaluation of tasks whose validation data is a number of batches that pass through the pipeline
// like those of training.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "parallel/pipeline/pipeline.h"
#include "train/measure.h"

namespace gradwire {

// The same sums on every rank, added up over the ranks of `world`. Those without anything to divide
// by are left out. Collective.
std::vector<Sum> sum_over_ranks(Context& cx, Communicator& world, std::vector<Sum> mine);

// The mean loss under the name `name`, by the weights of the batches: of this replica's first
// `batches`, the same number in all replicas. `from(first)` gives a model of which micro-batch m is
// batch first + m. Nothing if no batch of any replica has weight. Collective.
std::vector<Sum> evaluate_losses(Context& cx, Pipeline& pipeline, Communicator& world,
                                 const std::string& name, std::int64_t batches,
                                 const std::function<StageModel&(std::int64_t first)>& from);

}  // namespace gradwire
