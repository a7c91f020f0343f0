// Local update rules. An optimizer says what ranks must agree on (exchange()) and never how they
// come to agree: between local_update() and apply() the caller replaces every exchanged tensor by
// its mean over the ranks. For gradients that may happen while backward still runs.
#pragma once

#include <cstdint>
#include <span>

#include "core/state.h"
#include "core/tape.h"

namespace gradwire {

struct StepInfo {
  std::int64_t step = 0;  // of this update, from 1
  double lr = 0.0;
  double grad_scale = 1.0;  // multiplies every gradient: clipping, loss scale, accumulation
};

class Optimizer : public Stateful {
 public:
  // What happens before ranks agree, e.g. momentum from local gradients. Often nothing.
  virtual void local_update(Context& cx, const StepInfo& step) = 0;
  // The tensors to agree on. Default: the gradients.
  virtual std::span<Tensor> exchange() = 0;
  // Updates the parameters' values and raises their versions.
  virtual void apply(Context& cx, const StepInfo& step) = 0;
};

}  // namespace gradwire
