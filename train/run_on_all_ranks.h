// Work that every rank does, where the failure of one must be the failure of all: opening files,
// building the model, loading a checkpoint. Without it the others would wait for the one that left.
#pragma once

#include <functional>

#include "train/coordinator.h"

namespace gradwire {

// Runs `work` on every rank. If it threw on any, throws on all of them: its own error if it
// failed, elsewhere one of the same kind that names the first rank that did. Collective.
void run_on_all_ranks(Coordinator& ranks, const std::function<void()>& work);

}  // namespace gradwire
