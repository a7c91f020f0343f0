// What the program's exit status says, and the one place where a failure becomes one line on
// stderr. Under mpirun the line names the rank; what every rank must have met alike, such as a
// mistyped recipe key, is printed by rank 0 only.
#pragma once

#include <exception>
#include <string>

#include "core/error.h"
#include "launch/environment.h"

namespace gradwire {

enum class ExitCode : int {
  kDone = 0,
  kBug = 1,
  kUsage = 2,  // command line or recipe; also a failed check of `doctor`
  kData = 3,
  kCheckpoint = 4,  // none that can be loaded
  kNumeric = 5,     // loss or gradients not finite too often in a row, or replicas differ
  kPeerLost = 6,
  kStalled = 7,    // a step made no progress: the watchdog ended it
  kResources = 8,  // out of memory or disk
  kStopped = 75,   // on request, with a complete checkpoint: start again to go on
};

ExitCode exit_code_of(ErrorKind kind);
ExitCode exit_code_of(const std::exception& e);

// "gradwire: recipe: a.toml:3: ..."; empty where another rank says the same.
std::string failure_text(const std::exception& e, const RankEnvironment& env);

}  // namespace gradwire
