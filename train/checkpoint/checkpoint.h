// Checkpoints that are committed or do not exist. Every rank writes its HDF5 file into a temporary
// folder and syncs it; rank 0 then writes the manifest and gives the folder its name by one rename.
// A crash at any moment leaves the old checkpoints or the old and the new one. Loading believes
// nothing: manifest, list of files, sizes and checksums are verified before a value is read.
// All ranks must see the same folder. Calls are collective over the Coordinator.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/state.h"
#include "core/tape.h"
#include "train/checkpoint/files.h"
#include "train/coordinator.h"

namespace gradwire {

// What a parameter is recognised by that a checkpoint names and does not hold.
struct ParameterDigest {
  std::string name;
  std::uint64_t xxh3 = 0;  // of type, shape and elements
  bool operator==(const ParameterDigest&) const = default;
};
std::vector<ParameterDigest> digests_of(Context& cx, const std::vector<Parameter*>& params);

// Everything of a rank that must survive a restart. Parameters are saved as param/<name>; names
// must be unique over all of it. State that is not per rank must be equal on all ranks that have
// it: each piece is written by one of them.
struct CheckpointState {
  std::vector<Parameter*> params;
  std::vector<Stateful*> parts;
  // Parameters that are not saved, but must be what they were when the run goes on.
  std::vector<ParameterDigest> frozen{};
};

// What a start was told to begin with. A checkpoint keeps all those that it descends from, so that
// the same command, given again, finds what it has already trained.
struct Origin {
  std::string from{};  // "none", or the path of a checkpoint
  std::string id{};    // Manifest::id of that checkpoint, or CheckpointPolicy::course for "none"
  bool operator==(const Origin&) const = default;
};

// What a checkpoint belongs to, as hashes or names of the caller's choice. A checkpoint of another
// model is refused; the recipe is recorded only, since rates and lengths may change between runs.
struct RunIdentity {
  std::string model;
  std::string recipe;
  // How state is spread over ranks beyond their number; empty if all have the same pieces. Of
  // another layout, what each rank has of its own is averaged or dropped (Share), as for another
  // number of ranks.
  std::string layout{};
  std::vector<Origin> lineage{};  // from the first to the last
};

// What the best checkpoint of a run is picked by: the value of a metric at its step. Part of the
// checkpoint, so that no moment lies between saving the best one and knowing that it is.
struct CheckpointScore {
  std::string metric;
  double value = 0.0;
  bool lower_is_better = true;
  bool operator==(const CheckpointScore&) const = default;
  // Of the same metric; one that is not finite is no better than any.
  bool is_better_than(const CheckpointScore& other) const;
};

struct SaveOptions {
  std::string dir;  // of all checkpoints of the run
  RunIdentity run;
  // Older ones are deleted after a commit; 0: keep all. Those that are damaged do not count: the
  // paths in `damaged`, and any whose manifest cannot be used or whose files are missing or short.
  std::int64_t keep_last = 3;
  std::vector<std::string> damaged{};
  std::optional<CheckpointScore> score{};  // of this one
  std::optional<std::int64_t> best{};      // the step of a checkpoint that is not deleted either
  FileHook before_file_operation{};        // for tests that fail or die there
};

struct SaveResult {
  bool committed = false;
  std::string path;                   // of the checkpoint, if committed
  std::string why;                    // it was not
  std::uint64_t bytes = 0;            // of all files
  std::vector<std::string> warnings;  // what could not be deleted; on rank 0
};

// Saves as step-<step>. If any rank fails (disk full, read-only, quota), all abandon, the
// temporary folder is removed, earlier checkpoints are untouched, and every rank gets the reason:
// training goes on. An existing checkpoint of the same step is replaced. At most one tensor is
// copied, and only if it lives on a device. Throws only what the Coordinator throws.
SaveResult save_checkpoint(Context& cx, const SaveOptions& options, std::int64_t step,
                           const CheckpointState& state, Coordinator& ranks);

// Bytes of the state that this rank would write, without what files take besides. Collective.
std::int64_t checkpoint_bytes(const CheckpointState& state, Coordinator& ranks);

// Whose value of a per-rank piece of state this rank takes from a checkpoint of `saved_ranks` ranks
// if this run has another number; nullopt: the piece stays as it was constructed.
using ResizeRule = std::function<std::optional<int>(std::string_view name, int saved_ranks)>;

struct LoadOptions {
  std::string model;          // RunIdentity::model of this run
  std::string layout{};       // RunIdentity::layout
  ResizeRule resize{};        // none: per-rank state needs as many ranks as saved it
  bool weights_only = false;  // leave what is saved beside the parameters alone
  // Why a run cannot go on from a checkpoint whose RunIdentity::recipe this is, or nothing.
  std::function<std::string(const std::string& recipe)> objection{};
  FileHook before_file_operation{};  // for tests that fail there
};

struct LoadResult {
  std::int64_t step = 0;
  std::string path;
  int saved_ranks = 1;
  std::string recipe;                    // RunIdentity::recipe of the run that saved it
  std::vector<Origin> lineage{};         // RunIdentity::lineage
  std::vector<std::string> warnings;     // one for each that was passed over, with the reason
  std::vector<std::string> passed_over;  // their paths
};

// Loads the first of `paths` (rank 0's list counts) that is whole and fits, state by state by name,
// and raises the parameters' versions. Missing and extra names are all listed; differing shapes are
// both named; so are parameters that were not saved, and are no longer what they were. Errors:
// kCheckpoint with the reason for each if none can be used; kIo if a file
// cannot be read, which is no reason to fall back to an older one: a later attempt may well read
// it. The state may then be partly overwritten if a verified file failed while it was read.
LoadResult load_checkpoint(Context& cx, const std::vector<std::string>& paths,
                           const LoadOptions& options, const CheckpointState& state,
                           Coordinator& ranks);

struct CheckpointPlace {
  std::int64_t step = 0;
  std::string path;
};
// Committed checkpoints, newest first. Nothing is verified. An absent folder has none. Errors: kIo.
std::vector<CheckpointPlace> list_checkpoints(const std::string& dir, const FileHook& hook = {});
// Of those in `dir` that have a score by `metric` (empty: by the metric of the newest that has any)
// the one with the best, of equal ones the first; nothing if there is none. Manifests that cannot
// be used are passed over. Errors: kIo.
struct BestCheckpoint {
  std::int64_t step = 0;
  std::string path;
  CheckpointScore score;
};
std::optional<BestCheckpoint> best_checkpoint(const std::string& dir,
                                              const std::string& metric = "",
                                              const FileHook& hook = {});
std::vector<std::string> paths_of(const std::vector<CheckpointPlace>& places);
// What a person means by a path: one checkpoint; a folder of them, or the folder of a run, newest
// first; or "best" in such a folder, the best checkpoint alone. Errors: kCheckpoint if there is
// none; kIo.
std::vector<std::string> checkpoints_at(const std::string& path);

// Deletes what interrupted saves left behind, and gives a checkpoint that was set aside its name
// back if the one that was to replace it is not there. One process of the run, before the first
// save. Gives the names of what could not be deleted. Errors: kIo.
std::vector<std::string> remove_unfinished(const std::string& dir);

struct CheckpointReport {
  std::int64_t step = 0;
  int ranks = 0;
  std::uint64_t bytes = 0;
  std::int64_t pieces = 0;            // of state
  std::vector<std::string> problems;  // empty: the checkpoint is good
};
// Checks one checkpoint to the last element, without a model: for people, not for loading.
CheckpointReport verify_checkpoint(const std::string& path);

}  // namespace gradwire
