#include "launch/assemble/load_model.h"

#include "core/error.h"
#include "launch/assemble/continuation.h"
#include "train/run_on_all_ranks.h"

namespace gradwire {

namespace {

constexpr const char* kNoCheckpoint = "none";

}  // namespace

std::vector<std::string> weight_sources(Session& session, const Job& job, const std::string& path) {
  std::vector<std::string> found;
  if (path == kNoCheckpoint) {
    if (job.has_pretrained_weights()) return found;
    throw Error(
        ErrorKind::kUsage,
        "--ckpt none: without a checkpoint there is only a model that the recipe takes from "
        "elsewhere (model.from)");
  }
  run_on_all_ranks(session.ranks(), [&] {
    if (!session.is_first()) return;
    const bool of_this_run = path.empty() || path == kBestName;
    found = checkpoints_at(of_this_run ? session.run_dir() + "/" + path : path);
  });
  return found;
}

LoadResult load_weights(Session& session, const Job& job, Task& task, const std::string& path,
                        const std::vector<std::string>& sources) {
  if (path == kNoCheckpoint) return {};
  LoadOptions options;
  options.model = job.model_identity();
  options.weights_only = true;
  options.objection = [&](const std::string& saved) {
    return model_objection(session.recipe(), saved);
  };
  CheckpointState state;
  state.params = task.saved();
  state.frozen = digests_of(session.cx(), known_by_digest_in(task));
  return load_checkpoint(session.cx(), sources, options, state, session.ranks());
}

}  // namespace gradwire
