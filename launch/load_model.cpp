#include "launch/load_model.h"

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

LoadResult load_weights(Session& session, const TokenData& data, DecoderLm& model,
                        const std::string& path) {
  std::vector<std::string> paths{path};
  if (path.empty()) {
    paths = paths_of(list_checkpoints(session.checkpoint_dir()));
    // Rank 0's view counts: all ranks must take the same way.
    const bool some = session.ranks().all_gather(paths.empty() ? "none" : "some").front() == "some";
    if (!some) {
      throw Error(ErrorKind::kCheckpoint,
                  fmt::format("{}: no checkpoint; train first", session.checkpoint_dir()));
    }
  }
  LoadOptions options;
  options.model = model_identity(data);
  options.weights_only = true;
  CheckpointState state;
  state.params = parameters_of(model);
  return load_checkpoint(session.cx(), paths, options, state, session.ranks());
}

}  // namespace gradwire
