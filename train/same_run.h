// Ranks that do not run the same thing must never train: each would follow its own recipe, and what
// they commit together is garbage. So once they have met, and before a tensor is made, all ranks
// compare what they are about to do.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/error.h"
#include "train/coordinator.h"

namespace gradwire {

// Something that must be the same on all ranks, such as {"optim.lr", "0.001"}. The values of all
// ranks are shown if they differ; one that is long or not text is better given as a digest.
struct RunFact {
  std::string name, value;
};

// A digest of what the file at `path` holds, as a fact; if it cannot be read, a text that says so.
std::string digest_of_file(const std::string& path);

// The ranks' facts differ. `said_here` on rank 0 and on the ranks that differ from it.
class DifferentRuns : public Error {
 public:
  DifferentRuns(const std::string& what, bool said_here)
      : Error(ErrorKind::kConfig, what), said_here_(said_here) {}
  bool said_here() const noexcept { return said_here_; }

 private:
  bool said_here_;
};

// Compares a digest; only if that differs on some rank, the facts themselves. Collective. Errors:
// DifferentRuns on every rank, which names each fact that differs, its values and their ranks.
void check_same_run(Coordinator& ranks, const std::vector<RunFact>& facts);

}  // namespace gradwire
