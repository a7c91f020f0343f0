// The ranks of a dry run, each with a clock, and the messages between them.
#pragma once

#include "parallel/pipeline/dry_run.h"

namespace gradwire {

// Fills in problem, busy_s, makespan_s and timeline (rank by rank within, but not sorted). The
// programs must have passed check_programs.
void run_programs(const Schedule& s, SendModel model, const Costs& costs, DryRun& out);

}  // namespace gradwire
