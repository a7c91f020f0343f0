// Local update rules. An optimizer says what ranks must agree on in a step, and never how they come
// to agree: before apply() the caller has replaced what the step needs by its mean over the ranks.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "core/exchange.h"
#include "core/state.h"
#include "core/tape.h"

namespace gradwire {

struct StepInfo {
  std::int64_t step = 0;  // of this update, from 1
  double lr = 0.0;
  double grad_scale = 1.0;  // multiplies every gradient: clipping, loss scale, accumulation
  double grad_norm = 0.0;   // of the mean gradient over all ranks, before grad_scale
  bool settle = false;      // as Optimizer::needs() was told
};

struct StepNeeds {
  bool gradients = true;  // the mean of the gradients, in place, before apply()
  bool exchange = false;  // the mean of what exchange() names, made from this rank's gradients
};

class Optimizer : public Stateful {
 public:
  // Of the next step; the same on every rank. `settle`: after it all replicas must be equal,
  // because it ends the run or is followed by an evaluation or a checkpoint.
  virtual StepNeeds needs(bool settle) const;
  // From the next step on, while `hold`: gradients agreed on as they are, no stage that exchanges
  // something else (a rule that is in one leaves it). Does nothing for rules without such stages.
  // The same on every rank; whoever calls it keeps it, it is not state.
  virtual void hold_dense(bool) {}
  // If needed: what this rank brings, by bucket of the layout it was made for; the agreed means
  // are in place when apply() is called, and values may have been updated as they came in
  // (Exchange::use). Buckets without an exchange are passed over. Errors: kUsage if the step
  // needs none.
  virtual std::span<const std::optional<Exchange>> exchange(Context& cx, const StepInfo& step);
  // Updates the parameters' values, as far as the exchange has not, and raises their versions.
  virtual void apply(Context& cx, const StepInfo& step) = 0;
  // Whether all replicas are equal now. A step that was skipped leaves them as they were.
  virtual bool settled() const { return true; }
  // A sentence for the log on what has changed since the last call (a stage, say); often empty.
  virtual std::string take_log_message() { return {}; }
};

}  // namespace gradwire
