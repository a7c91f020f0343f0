#include "launch/assemble/run_facts.h"

#include <fmt/format.h>

#include "launch/assemble/stages.h"
#include "train/checkpoint/manifest.h"

#include "recipe/recipe_io.h"

namespace gradwire {

std::vector<RunFact> run_facts(const Recipe& recipe, const std::string& command) {
  std::vector<RunFact> facts = {{"version of gradwire", GW_VERSION},
                                {"format of checkpoints", fmt::format("{}", kCheckpointFormat)},
                                {"command", command}};
  for (const SectionInfo& section : describe(recipe))
    for (const KeyInfo& info : section.keys)
      if (info.scope == KeyScope::kRun || info.scope == KeyScope::kStart)
        facts.push_back({info.key, info.value});
  if (!is_builtin_schedule(recipe.parallel.schedule)) {
    facts.push_back({"content of parallel.schedule", digest_of_file(recipe.parallel.schedule)});
  }
  return facts;
}

}  // namespace gradwire
