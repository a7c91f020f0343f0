// The paths of a recipe: placeholders that stand for the job and the host, and whether the folder
// of the run can be written.
#pragma once

#include <string>
#include <vector>

#include "core/environment.h"

#include "recipe/recipe.h"

namespace gradwire {

// Replaces, in every key that is a path, {job} by the name of this job and {host} by that of this
// host, and `{{` by a brace; a path with a problem stays as it is. The job is GRADWIRE_JOB, else
// Slurm's: ID_TASK of a job array, or ID, which stay the same when a job is requeued. Gives as
// problems: other placeholders; those that cannot stand there, since all ranks need the same path;
// {job} outside a job.
std::vector<Problem> expand_paths(Recipe& r, const EnvironmentLookup& lookup);

// As a recipe writes a path that is to stay as it is: the reverse of expand_paths().
std::string with_literal_braces(const std::string& path);
StringList with_literal_braces(const StringList& paths);

// That the folder of the run can be made or written to here, as far as permissions tell without
// writing. Throws RecipeError.
void check_run_folder(const Recipe& r);

}  // namespace gradwire
