// Small agreements of the ranks that a training loop needs: a control word per step, a sum, a mean,
// the largest value. Collective, blocking, a few bytes each.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"

namespace gradwire {

// One per step, so that all ranks stop, skip and save after the same step.
struct StepWord {
  bool stop = false;             // a rank was asked to stop
  bool nonfinite = false;        // a rank's loss or gradient is not finite
  double loss_sum = 0.0;         // summed over samples or tokens ...
  double loss_count = 0.0;       // ... so many
  std::vector<double> counts{};  // of work done; as many on every rank
};
// The words of all ranks, on their way from the constructor on. Flags: raised if any rank raised
// them. Sums: over all ranks. Collective.
class StepAgreement {
 public:
  StepAgreement(Context& cx, Communicator& comm, const StepWord& mine);
  StepWord wait(Context& cx);

 private:
  Tensor words_;
  WorkPtr work_;
};
inline StepWord agree(Context& cx, Communicator& comm, const StepWord& mine) {
  return StepAgreement(cx, comm, mine).wait(cx);
}

// Added up in the order of the ranks.
double sum_over_ranks(Context& cx, Communicator& comm, double value);
// sum(value * weight) / sum(weight) over the ranks; NaN if all weights are zero.
double mean_over_ranks(Context& cx, Communicator& comm, double value, double weight = 1.0);

double max_over_ranks(Context& cx, Communicator& comm, double value);

}  // namespace gradwire
