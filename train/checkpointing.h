// When a run saves and where it goes on from: the policy over train/checkpoint.h, which knows how.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "train/checkpoint.h"

namespace gradwire {

struct CheckpointPolicy {
  std::string dir;         // of the run's checkpoints
  std::int64_t every = 0;  // steps; 0: only at the end or when stopped
  std::int64_t keep = 3;
  RunIdentity run;
};

class Checkpointing {
 public:
  // `ranks` must outlive this object. Deletes what interrupted saves left behind. Collective.
  Checkpointing(Coordinator& ranks, CheckpointPolicy policy);

  // What is saved and loaded; to be called before either.
  void track(CheckpointState state) { state_ = std::move(state); }

  bool due(std::int64_t step) const { return policy_.every > 0 && step % policy_.every == 0; }
  // Failure is a result, not an exception: training goes on. Collective.
  SaveResult save(Context& cx, std::int64_t step);

  // "auto": the newest good checkpoint of the run, or none where there is no checkpoint at all;
  // "none": none, and those that exist move to a folder beside; else the checkpoint at that path.
  // Errors: kCheckpoint where some exist and none is good. Collective.
  std::optional<LoadResult> resume(Context& cx, const std::string& from);

 private:
  void set_aside();

  Coordinator& ranks_;
  CheckpointPolicy policy_;
  CheckpointState state_;
};

}  // namespace gradwire
