#include "train/checkpointing.h"

#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "train/together.h"

namespace gradwire {
namespace fs = std::filesystem;

Checkpointing::Checkpointing(Coordinator& ranks, CheckpointPolicy policy)
    : ranks_(ranks), policy_(std::move(policy)) {
  together(ranks_, [this] {
    if (ranks_.rank() != 0) return;
    fs::create_directories(policy_.dir);
    remove_unfinished(policy_.dir);
  });
}

SaveResult Checkpointing::save(Context& cx, std::int64_t step) {
  SaveOptions options;
  options.dir = policy_.dir;
  options.run = policy_.run;
  options.keep_last = policy_.keep;
  return save_checkpoint(cx, options, step, state_, ranks_);
}

std::optional<LoadResult> Checkpointing::resume(Context& cx, const std::string& from) {
  if (from == "none") {
    set_aside();
    return std::nullopt;
  }
  LoadOptions options;
  options.model = policy_.run.model;
  options.layout = policy_.run.layout;
  if (from != "auto") return load_checkpoint(cx, {from}, options, state_, ranks_);

  // Rank 0's view counts: all ranks must take the same way.
  const std::vector<std::string> paths = paths_of(list_checkpoints(policy_.dir));
  if (ranks_.all_gather(paths.empty() ? "none" : "some").front() == "none") return std::nullopt;
  return load_checkpoint(cx, paths, options, state_, ranks_);
}

void Checkpointing::set_aside() {
  together(ranks_, [this] {
    if (ranks_.rank() != 0 || list_checkpoints(policy_.dir).empty()) return;
    int n = 1;
    while (fs::exists(fmt::format("{}.old-{}", policy_.dir, n)))
      ++n;
    fs::rename(policy_.dir, fmt::format("{}.old-{}", policy_.dir, n));
    fs::create_directories(policy_.dir);
  });
}

}  // namespace gradwire
