// The table of `gradwire bench comm`: every way to exchange gradients, measured on the ranks at
// hand through the production reducers, beside what the cost model predicts from network and codec.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/cost/network_probe.h"

#include "recipe/recipe.h"

namespace gradwire {

struct ExchangeRow {
  std::string name;
  double bytes_per_parameter = 0.0;   // of a payload; a rank sends 2 (n-1)/n of it
  double encode = 0.0, decode = 0.0;  // parameters per second; 0 if nothing is encoded
  double predicted_s = 0.0, measured_s = 0.0;
  double break_even = 0.0;  // bytes per second of a rank's link; below it compressing is faster
  double step_s = 0.0;      // of the recipe, predicted
};

struct CommBench {
  NetworkSpeed network;
  std::int64_t elements = 0;    // of each exchange
  std::int64_t parameters = 0;  // of the recipe
  double compute_s = 0.0;       // of a step of the recipe
  std::vector<ExchangeRow> rows;
};

// `elements` 0: as many as take about half a second as they are. Collective; the same on all ranks.
CommBench bench_comm(Context& cx, Communicator& comm, const Recipe& recipe, std::int64_t elements);

}  // namespace gradwire
