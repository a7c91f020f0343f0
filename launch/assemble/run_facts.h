// What every rank of a run must have in common before a tensor is made (train/same_run.h).
#pragma once

#include <string>
#include <vector>

#include "train/same_run.h"

#include "recipe/recipe.h"

namespace gradwire {

// Of a program of this version that carries out `command` ("train --resume auto") by `recipe`: its
// version, the format of its checkpoints, the command, every key of the recipe that all ranks must
// have in common (KeyScope), and the content of the file that parallel.schedule names.
std::vector<RunFact> run_facts(const Recipe& recipe, const std::string& command);

}  // namespace gradwire
