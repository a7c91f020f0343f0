// What `gradwire doctor` looks at on this host. Each check gives findings; one that stops a run is
// a failure and says how to mend it. Checks leave nothing behind and never throw for what they
// find.
#pragma once

#include <string>
#include <vector>

#include "launch/start/environment.h"

namespace gradwire {

enum class Verdict { kOk, kWarn, kFail };

struct Finding {
  Verdict verdict = Verdict::kOk;
  std::string what;   // "/dev/shm"
  std::string found;  // "24.0 GB free"
  std::string fix;    // what to do; empty if all is well
};
std::string to_text(const Finding& f);
using Findings = std::vector<Finding>;

Findings check_processor();
Findings check_libraries();
Findings check_gpus();
// Starts MPI in a child process, alone, with a time limit.
Findings check_mpi(const EnvironmentLookup& lookup);
// Writes, syncs and renames a file of its own in `dir`.
Findings check_storage(const std::string& dir);
Findings check_memory();  // main memory, /dev/shm, limits of the process
Findings check_network();

std::string gigabytes(double bytes);  // "24.0 GB"

}  // namespace gradwire
