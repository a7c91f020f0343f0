// Follows the training loop through its steps, for a watchdog and for traces. Called on the loop's
// thread. Owns nothing.
#pragma once

#include <cstdint>
#include <span>

#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/timeline.h"

namespace gradwire {

// What a step does after its micro-batches, in order.
enum class StepPart : std::uint8_t {
  kGradients,  // the replicas' gradients are added up, and their norm is taken
  kAgreement,  // the control word goes round
  kUpdate,
};

class StepObserver {
 public:
  virtual ~StepObserver() = default;
  virtual void step_begins(std::int64_t step) = 0;
  virtual void action_begins(const Action& action) = 0;
  virtual void part_begins(StepPart part) = 0;
  // `actions`: those of the step as they were carried out, as Pipeline::timeline() has them.
  virtual void step_ends(std::span<const TimelineEvent> actions) = 0;
};

}  // namespace gradwire
