#pragma once

#include <vector>

#include "core/context.h"
#include "core/tensor.h"
#include "models/decoder_lm.h"
#include "parallel/pipeline/stages.h"

namespace gradwire {

// What each unit of a decoder costs for a micro-batch of ids [B, T], measured here: embedding,
// block (all are alike) and head are each run a few times.
std::vector<UnitCost> measure_units(Context& cx, const DecoderConfig& config, const Shape& batch);

}  // namespace gradwire
