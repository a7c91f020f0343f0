// What a pipeline's steps cost beside what was expected: the share of time in which ranks computed
// nothing, and the memory of activations. For benchmarks; collective over the ranks of a replica.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "launch/assemble/stages.h"
#include "parallel/pipeline/dry_run.h"
#include "parallel/pipeline/pipeline.h"

namespace gradwire {

struct PipelineReport {
  double bubble_share = 0.0;            // median over the steps
  double predicted_bubble_share = 0.0;  // by the dry run, with the mean costs of the steps
  // By rank: high-water marks of activations, and what the dry run expects of as many micro-batches
  // as it sees alive at once; none if units were not measured.
  std::vector<std::int64_t> activation_bytes, predicted_activation_bytes;
};

class PipelineMeter {
 public:
  explicit PipelineMeter(Pipeline& pipeline) : pipeline_(pipeline) {}
  // After a step. Collective.
  void add_step(Context& cx);
  // Collective.
  PipelineReport report(Context& cx, const Stages& stages) const;

 private:
  struct Sum {
    double seconds = 0.0;
    double count = 0.0;
  };
  Costs mean_costs(Context& cx) const;

  Pipeline& pipeline_;
  std::vector<double> bubbles_;
  // Of this rank's stages, by stage: forwards, full backwards and the halves of split ones.
  std::map<int, Sum> forward_, backward_, input_, weight_;
};

}  // namespace gradwire
