// Times whole training steps of a recipe on random data: forward, backward, exchange, update.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "launch/measure/pipeline_report.h"

#include "recipe/recipe.h"

namespace gradwire {

struct StepTimes {
  std::vector<double> seconds;      // of each timed step
  std::int64_t count_per_step = 0;  // of all ranks, in what the job counts
  std::string counts;               // such as "tokens"
  double flops_per_step = 0.0;      // of this rank: matrix products, attention counted as causal
  std::int64_t system_allocations = 0;  // during the timed steps
  double wire_bytes_per_step = 0.0;     // sent by this rank in one of them
  std::size_t exchange_bytes = 0;       // of memory that the exchange holds between steps
  PipelineReport pipeline;              // of the timed steps
  double compute_s = 0.0;               // median of what was not spent on exchanging, slowest rank
  double predicted_s = 0.0;             // of a step, by the cost model, from that
};

// `warmup` steps before the timed ones warm caches, memory and plans. The network is measured
// first. Collective.
StepTimes time_steps(Context& cx, Communicator& comm, const Recipe& recipe, std::int64_t warmup,
                     std::int64_t steps);

// Floating-point operations per second of the best of a few square matrix products through
// core/ops/linear, on this session's threads and precision.
double matmul_peak_flops(Context& cx, DType precision);

}  // namespace gradwire
