// What exchanging takes for a recipe, measured on the ranks and the processor at hand, through the
// reducer that would do it: the numbers behind the compression switch, `bench` and `simulate`.
#pragma once

#include <cstdint>

#include "comm/cost/cost_model.h"
#include "comm/cost/network_probe.h"
#include "parallel/data_parallel.h"
#include "train/compression_switch.h"

#include "recipe/recipe.h"

namespace gradwire {

// Seconds per parameter that each of `ranks` ranks spends on a compressed exchange of about so many
// beside sending: the sketch for the norm, encoding with feedback, averaging as an owner, decoding.
// Measured by this process alone. 0 for a recipe that does not compress.
double compression_work(Context& cx, const Recipe& recipe, int ranks, std::int64_t parameters);

// The share of a step's computing behind which a dense exchange in so many buckets hides: that of
// the last backward pass, but for the bucket that it finishes with.
double hideable_share(std::int64_t accumulation, std::size_t buckets);

// The network as described, `work` as above.
struct ExchangeParts {
  NetworkModel messages;  // for compressed exchanges
  NetworkModel reducing;  // for all-reduces
  double work = 0.0;
};
ExchangeForecast forecast(const ExchangeParts& parts, const DataParallel& group,
                          const Recipe& recipe);

// Measures, for a second or a few, with all ranks of `comm` at it together. Of a pipeline, `group`
// is the one of this rank's stage. Collective.
ExchangeProbe probe_exchange(Context& cx, Communicator& comm, const Recipe& recipe,
                             const DataParallel& group);

}  // namespace gradwire
