// All that can be known to be wrong with a recipe before a run starts.
#pragma once

#include "recipe/recipe.h"

namespace gradwire {

// Ranges, the rules between keys of every job and of the recipe's own, and what must exist on this
// host: the files that the job trains on only if `inputs` says so. Each problem names the line of
// the key to blame. Throws RecipeError.
void validate(const Recipe& r, int world_size, Inputs inputs = Inputs::kNeeded);

}  // namespace gradwire
