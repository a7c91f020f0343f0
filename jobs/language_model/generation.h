// Generation through a pipeline: each token passes through all stages, and all ranks of the replica
// get its logits, so that they draw the same next one.
#pragma once

#include <vector>

#include "comm/communicator.h"
#include "models/generate.h"
#include "parallel/pipeline/schedule.h"

namespace gradwire {

// As next_logits_of() for a model that is cut: `cut` has the units of each stage of `schedule`,
// whose ranks are those of `stages`; `adapted`: what the text's adapters are. Its calls are
// collective over them. All must outlive it.
NextLogits pipelined_logits(Context& cx, Communicator& stages, const Schedule& schedule,
                            DecoderLm& model, std::vector<UnitRange> cut, std::int64_t capacity,
                            Adaptation adapted = {});

}  // namespace gradwire
