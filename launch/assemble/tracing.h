// Traces of a run as its recipe asks for them (log.trace_every).
#pragma once

#include <memory>

#include "launch/assemble/session.h"
#include "parallel/pipeline/schedule.h"
#include "train/step_observer.h"

namespace gradwire {

// Null if the recipe asks for none. `session` must outlive it. Collective.
std::unique_ptr<StepObserver> make_tracer(Session& session, const Schedule& schedule);

}  // namespace gradwire
