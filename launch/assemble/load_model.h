// The weights of a checkpoint without the rest of the run: for evaluation and generation.
#pragma once

#include <string>
#include <vector>

#include "launch/assemble/session.h"
#include "train/checkpoint/checkpoint.h"

#include "jobs/job.h"

namespace gradwire {

// Where weights may come from: the checkpoint or those of the run at `path`, newest first; those of
// the recipe's run if it is empty; the best one of a run at RUN/best, of the recipe's at "best"
// (checkpoints_at()); nowhere at "none", for a job whose model has weights without a checkpoint. On
// rank 0. Errors: kCheckpoint if there is none; kUsage for "none" where it has no sense; kIo.
// Collective.
std::vector<std::string> weight_sources(Session& session, const Job& job, const std::string& path);

// From the first of rank 0's `sources` that is good; for weight_sources() at "none", the model as
// it is, of step 0. Errors: kCheckpoint. Collective.
LoadResult load_weights(Session& session, const Job& job, Task& task, const std::string& path,
                        const std::vector<std::string>& sources);

}  // namespace gradwire
