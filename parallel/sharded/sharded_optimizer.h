// Sharded optimizer state (ZeRO stage 1) around any rule that updates coordinate by coordinate from
// the mean gradient: each rank keeps the rule's state of its slices, updates them, and gathers the
// values of the others. The reducer that averages gradients need only scatter them
// (make_scatter_reducer). Updates are the unsharded rule's bit for bit, and so are checkpoints.
#pragma once

#include <functional>
#include <memory>
#include <span>

#include "optim/optimizer.h"
#include "parallel/sharded/shard.h"

namespace gradwire {

// `make` gets this rank's pieces; `shard` must outlive the result. Errors: kUsage, of needs(), for
// a rule that exchanges anything but gradients.
std::unique_ptr<Optimizer> make_sharded(
    Shard& shard,
    const std::function<std::unique_ptr<Optimizer>(std::span<Parameter* const> pieces)>& make);

}  // namespace gradwire
