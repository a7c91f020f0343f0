// What the program's exit status says, and the one place where a failure becomes one line on
// stderr. Under a launcher the line names the rank.
#pragma once

#include <exception>
#include <string>

#include "core/error.h"
#include "launch/start/environment.h"

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

// "gradwire: recipe: a.toml:3: ..."; empty if another rank is sure to say the same.
std::string failure_text(const std::exception& e, const RankEnvironment& env);
// Whether rank 0 has most likely met the same, as a mistyped recipe key. It may not have: ranks can
// be given different command lines.
bool is_likely_said_by_rank_0(const std::exception& e, const RankEnvironment& env);

}  // namespace gradwire
