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
#include "launch/recipe.h"
#include "models/decoder_lm.h"
#include "parallel/mesh.h"
#include "parallel/pipeline/activation_memory.h"
#include "parallel/pipeline/boundary.h"
#include "parallel/pipeline/schedule.h"
#include "train/checkpoint_coordinator.h"

namespace gradwire {

// Any other name is a file's.
bool is_builtin_schedule(std::string_view name);
MeshShape mesh_shape(const Recipe& recipe, int ranks);
// Of a training step of `replicas` replicas, with its messages, and checked. Errors: kConfig.
Schedule pipeline_schedule(const Recipe& recipe, int replicas);

// Cuts units into `stages` runs of at least one, so that the costliest has as little cost as can
// be.
std::vector<UnitRange> balanced_cut(std::span<const double> unit_costs, int stages);
// The same for units that all cost the same, whatever their number. Errors: kConfig for more stages
// than units.
std::vector<UnitRange> even_cut(int units, int stages);
// "3 3 2" as ranges of 8 units. Errors: kConfig for anything else, or another number of stages.
std::vector<UnitRange> parse_cut(std::string_view text, int units, int stages);
std::string to_text(const std::vector<UnitRange>& cut);  // "3 3 2"

// Of a micro-batch.
struct UnitCost {
  double seconds = 0.0;           // forward and backward
  std::int64_t bytes = 0;         // kept between them, its result included,
  std::int64_t result_bytes = 0;  // which takes this
  // On top: while backward is in the unit, for a moment; and of that, where it is computed again,
  // what a split backward keeps until the gradients of the weights.
  std::int64_t working_bytes = 0, rerun_bytes = 0;
};
// Of the units of a stage, and its input where another stage gives it. A full backward lets go of
// one unit after the other; a split one of nothing before the gradients of the weights.
StageMemory stage_memory(std::span<const UnitCost> costs, UnitRange units);
// By unit, measured here: embedding, block (all are alike) and head each run a few times.
std::vector<UnitCost> measure_units(Context& cx, const Recipe& recipe, const DecoderConfig& config);

struct Stages {
  Schedule schedule;
  std::vector<UnitRange> cut;  // units, by stage
  std::vector<UnitCost> cost;  // by unit; empty where nothing was measured

  std::vector<UnitRange> of_rank(int rank) const;
};
// As the recipe says; even where it asks to measure. Errors: kConfig.
Stages stages_without_measuring(const Recipe& recipe, const DecoderConfig& config, int replicas);
// As the recipe says. Measured cuts are rank 0's, or those that keep_stages() has kept in the
// folder of the run. Collective over `world`. Errors: kConfig.
Stages plan_stages(Context& cx, Communicator& world, const Recipe& recipe,
                   const DecoderConfig& config);
// Keeps a measured cut in the folder of the run, so that the run goes on as it began. For training
// alone: whoever else looks at a run, perhaps on another number of ranks, leaves it as it is. One
// process. Errors: kIo.
void keep_stages(const Recipe& recipe, const Stages& stages);

// A line for each rank: host, device, stages with their units, and what they take where that was
// measured. Collective.
std::string placement_text(Coordinator& ranks, const Mesh& mesh, const Stages& stages);

// How results travel between stages in training, as the recipe says. `ranks`, those of this
// replica, must outlive it.
std::unique_ptr<Boundary> make_boundary(Context& cx, Communicator& ranks, const Recipe& recipe,
                                        const Schedule& schedule);
// Bytes of one result, or of its gradient, as it travels.
std::int64_t boundary_bytes(const Recipe& recipe);

// What a checkpoint's RunIdentity::layout says: empty without a pipeline.
std::string layout_text(const Recipe& recipe, const Stages& stages);

}  // namespace gradwire
