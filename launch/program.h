// The whole `gradwire` program as a function, for programs that bring jobs of their own:
//   int main(int argc, char** argv) { return gradwire::run_program(argc, argv, my_jobs); }
#pragma once

#include <span>

#include "recipe/job_sections.h"

namespace gradwire {

// Parses the command line, acts, and turns whatever is thrown into one message on stderr and an
// exit status (docs/launch.md). `jobs` are the tasks that recipes can name, all of them JobRecipes
// (jobs/job.h); the first is that of a recipe that names none. They must outlive the call.
int run_program(int argc, const char* const* argv, std::span<const JobKind> jobs);

}  // namespace gradwire
