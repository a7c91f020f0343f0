// What a recipe would do on a cluster that is only described: computing and encoding measured on
// this machine, bytes as the reducers count them, the network by comm/cost/network_model.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "comm/cost/cost_model.h"
#include "comm/cost/network_model.h"
#include "core/context.h"

#include "recipe/recipe.h"

namespace gradwire {

struct SimulatedExchange {
  std::string name;
  double sent_bytes = 0.0;  // by the busiest rank in a step
  double exchange_s = 0.0;  // alone
  double codec_s = 0.0;
  double step_s = 0.0;
};

struct Simulation {
  std::int64_t parameters = 0;  // trainable
  std::size_t buckets = 0;
  double compute_s = 0.0;
  std::vector<SimulatedExchange> exchanges;  // dense f32, bf16, and what the recipe does otherwise
  SimulatedExchange ring;  // dense f32 by the ring all-reduce of other libraries, for comparison
  // Of the whole run, dense steps before the switch included, against a dense one in f32.
  std::int64_t dense_steps = 0;
  double fewer_bytes = 1.0;
  double speed_up = 1.0;
};

// The steps of a run in which all gradients travel as they are. If a rule ends them that looks
// at the run, its earliest end.
std::int64_t dense_steps_of(const Recipe& recipe);
// `recipe` fits so many workers (launch/measure/exchange_kinds.h); `compute_s` of a step, measured
// here if it is not given.
Simulation simulate(Context& cx, const Recipe& recipe, const NetworkModel& network,
                    std::optional<double> compute_s);

}  // namespace gradwire
