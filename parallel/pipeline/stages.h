// How the layers of a model are cut into the stages of a pipeline, and what the stages cost. Values
// only: who measured or estimated the costs is the caller's business.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/unit_range.h"
#include "parallel/pipeline/activation_memory.h"
#include "parallel/pipeline/schedule.h"

namespace gradwire {

// Cuts units into `stages` runs of at least one, such that the costliest costs as little as
// possible.
std::vector<UnitRange> balanced_cut(std::span<const double> unit_costs, int stages);
// The same for units that all cost the same, whatever their number. Errors: kConfig for more stages
// than units.
std::vector<UnitRange> even_cut(int units, int stages);
// "3 3 2" as ranges of 8 units. Errors: kConfig for anything else, or another number of stages.
std::vector<UnitRange> parse_cut(std::string_view text, int units, int stages);
std::string to_text(const std::vector<UnitRange>& cut);  // "3 3 2"

// What one unit costs for one micro-batch.
struct UnitCost {
  double seconds = 0.0;           // forward and backward
  std::int64_t bytes = 0;         // kept between them, its result included,
  std::int64_t result_bytes = 0;  // which takes this
  // On top: while backward is in the unit, for a moment; and of that, if it is computed again, what
  // a split backward keeps until the gradients of the weights.
  std::int64_t working_bytes = 0, rerun_bytes = 0;
};
// Of the units of a stage, and its input if another stage gives it. A full backward lets go of one
// unit after the other; a split one of nothing before the gradients of the weights.
StageMemory stage_memory(std::span<const UnitCost> costs, UnitRange units);

// A schedule with the units that each of its stages has. The same on every rank.
struct Stages {
  Schedule schedule;
  std::vector<UnitRange> cut;  // units, by stage
  std::vector<UnitCost> cost;  // by unit; empty if nothing was measured

  std::vector<UnitRange> of_rank(int rank) const;
};

}  // namespace gradwire
