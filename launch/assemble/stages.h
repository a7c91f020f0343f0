// How a recipe's model is spread over the ranks of a pipeline: the schedule, and which units of the
// model each stage has. Decided once, on the same numbers on every rank.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/activation_transport.h"
#include "parallel/pipeline/stages.h"
#include "train/coordinator.h"

#include "jobs/job.h"
#include "recipe/recipe.h"

namespace gradwire {

// Any other name is a file's.
bool is_builtin_schedule(std::string_view name);
MeshShape mesh_shape(const Recipe& recipe, int ranks);
// Of a training step of `replicas` replicas, with its messages, and checked. Errors: kConfig.
// `tied`: the first and the last stage share a parameter.
Schedule pipeline_schedule(const Recipe& recipe, int replicas, bool tied);

// As the recipe says; even if it asks to measure. Errors: kConfig.
Stages stages_without_measuring(const Recipe& recipe, const ModelOutline& model, int replicas);
// As the recipe says. Measured cuts are rank 0's, or those that keep_stages() has kept in the
// folder of the run. Collective over `world`. Errors: kConfig.
Stages plan_stages(Context& cx, Communicator& world, const Recipe& recipe, Job& job);
// Keeps a measured cut in the folder of the run, so that the run goes on as it began. For training
// alone: whoever else looks at a run, perhaps on another number of ranks, leaves it as it is. One
// process. Errors: kIo.
void keep_stages(const Recipe& recipe, const Stages& stages);

// A line for each rank: host, its `device`, stages with their units, and what they take if that was
// measured. Collective.
std::string placement_text(Coordinator& ranks, const Mesh& mesh, const Stages& stages,
                           Device device);

// How activations are sent between stages in training, as the recipe says. `ranks`, those of this
// replica, must outlive it.
std::unique_ptr<ActivationTransport> make_transport(Context& cx, Communicator& ranks,
                                                    const Recipe& recipe, const ModelOutline& model,
                                                    const Schedule& schedule);
// Bytes of one result of the largest micro-batch, or of its gradient, as it travels.
std::int64_t boundary_bytes(const Recipe& recipe, const ModelOutline& model);

// What a checkpoint's RunIdentity::layout says: empty without a pipeline.
std::string layout_text(const Recipe& recipe, const ModelOutline& model, const Stages& stages);

}  // namespace gradwire
