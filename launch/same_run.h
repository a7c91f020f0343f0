// Ranks that do not run the same thing must never train: each would follow its own recipe, and what
// they commit together is garbage. So once they have met, and before a tensor is made, all ranks
// compare what they are about to do.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "core/error.h"
#include "data/prepare.h"
#include "launch/recipe.h"
#include "train/checkpoint_coordinator.h"

namespace gradwire {

// Something that must be the same on all ranks, such as {"optim.lr", "0.001"}. The values of all
// ranks are shown if they differ; one that is long or not text is better given as a digest.
struct RunFact {
  std::string name, value;
};

// Of a program of this version that carries out `command` ("train --resume auto") by `recipe`: its
// version, the format of its checkpoints, the command, every key of the recipe but those of a rank
// (KeyScope), and the content of the file that parallel.schedule names.
std::vector<RunFact> run_facts(const Recipe& recipe, const std::string& command);

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

// Compares what the ranks have of tokenizer and tokens. Collective. Errors: DifferentRuns; those of
// reading the files, on every rank.
void check_same_data(Coordinator& ranks, const PreparedText& prepared);

}  // namespace gradwire
