// The weights of a checkpoint without the rest of the run: for evaluation and generation.
#pragma once

#include <string>

#include "launch/language_model.h"
#include "launch/session.h"
#include "train/checkpoint.h"

namespace gradwire {

// From `path`, or where it is empty from the newest good checkpoint of the run. Errors:
// kCheckpoint. Collective.
LoadResult load_weights(Session& session, const TokenData& data, DecoderLm& model,
                        const std::string& path);

}  // namespace gradwire
