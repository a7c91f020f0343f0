// When a run saves and where it goes on from: the policy over train/checkpoint/checkpoint.h, which
// knows how. Every way of starting can be repeated: the same command, given again after a stop,
// finds the checkpoints that its first start has made and goes on from them (Origin).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "train/checkpoint/checkpoint.h"
#include "train/measure.h"

namespace gradwire {

struct CheckpointPolicy {
  std::string dir;         // of the run's checkpoints
  std::int64_t every = 0;  // steps; 0: only at the end or when stopped
  std::int64_t keep = 3;
  RunIdentity run;
  std::int64_t last_step = 0;  // with which the run is finished
  // Digest of all that decides what training computes. Two runs of one course that both begin with
  // nothing are the same run.
  std::string course{};
  std::function<std::string(const std::string& recipe)> objection{};  // LoadOptions::objection
  FileHook before_file_operation{};                                   // for tests that fail there
  // The metric whose best checkpoint is kept beside the newest, if any.
  std::optional<Metric> best{};
};

// Whether a start is told to begin with the best checkpoint of a run: "best" or a path that ends
// so.
bool names_best(const std::string& from);
// The checkpoint that this means, of `dir` for "best" alone; nothing if none has a score. Errors:
// kIo.
std::optional<std::string> best_named(const std::string& from, const std::string& dir);

class Checkpointing {
 public:
  // `ranks` must outlive this object.
  Checkpointing(Coordinator& ranks, CheckpointPolicy policy)
      : ranks_(ranks), policy_(std::move(policy)) {}

  // What is saved and loaded; to be called before either.
  void track(CheckpointState state) { state_ = std::move(state); }

  // Loads where the run goes on from, or nothing if it begins, and changes no file:
  //  "auto": the newest good checkpoint of the run; it begins if there is none at all.
  //  "none": it begins; but an unfinished run of the same course that began with "none" goes on.
  //  else a path: the newest good checkpoint that descends from the one at that path, or that one.
  //  "best" at the end of it is the best checkpoint of that run, alone that of this run; what
  //  descends from the one that was the best at the first start counts, whatever is the best now.
  // Errors: kCheckpoint if some exist and none is good; kIo if that cannot be known. Collective.
  std::optional<LoadResult> resume(Context& cx, const std::string& from);
  // To be called when the start is certain, before the first save: makes the folder, deletes what
  // interrupted saves left behind, and moves checkpoints that are not of this line of steps into
  // an aside-<time> folder: the later ones of a run that is rewound, all those of a run that is
  // begun anew. Gives that folder if there is one. Knows the best checkpoint afterwards. Errors:
  // kIo. Collective.
  std::string begin();

  // What this rank writes of a checkpoint of the state as it is, without what files take besides.
  // Collective.
  std::int64_t bytes_of_rank() const { return checkpoint_bytes(state_, ranks_); }

  bool due(std::int64_t step) const { return policy_.every > 0 && step % policy_.every == 0; }
  // Whether the model of which this is the evaluation is better than that of every checkpoint of
  // the run so far: then it is to be saved. The same on all ranks.
  bool is_best(std::span<const Sum> evaluation) const;
  // `evaluation` of the model as it is now, if there is one: the checkpoint's score comes from it.
  // Failure is a result, not an exception: training goes on. Collective.
  SaveResult save(Context& cx, std::int64_t step, std::span<const Sum> evaluation = {});
  // The best checkpoint so far, by its step.
  struct Best {
    std::int64_t step = 0;
    CheckpointScore score;
  };
  const std::optional<Best>& best() const { return best_; }

 private:
  // What there is to choose from, as rank 0 sees it.
  struct Choice {
    std::vector<CheckpointPlace> all;  // of the run
    std::vector<std::string> paths;    // to try, in this order
    Origin named;                      // what the start was told to begin with, if anything
    std::string first{};               // the checkpoint that means, by a path
  };
  Choice choice(const std::string& from) const;
  void choose_best(const std::string& from, Choice& choice) const;
  void choose_named(const std::string& path, Choice& choice) const;
  std::vector<std::string> descendants(const Choice& choice) const;
  // What begin() moves aside, after this one was taken.
  std::vector<CheckpointPlace> foreign_to(const LoadResult& loaded, const Choice& choice) const;
  std::string set_aside() const;
  std::optional<CheckpointScore> score_of(std::span<const Sum> evaluation) const;
  // Of the checkpoints that are there. Collective.
  std::optional<Best> find_best() const;

  Coordinator& ranks_;
  CheckpointPolicy policy_;
  CheckpointState state_;
  std::vector<std::string> damaged_;      // those that resume() passed over
  std::vector<CheckpointPlace> foreign_;  // to be moved aside; on rank 0
  std::optional<Best> best_;
};

}  // namespace gradwire
