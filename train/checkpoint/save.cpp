#include <algorithm>
#include <filesystem>
#include <optional>

#include <fmt/format.h>

#include "core/error.h"
#include "core/file.h"
#include "core/hash.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/shard.h"
#include "train/checkpoint/state.h"
#include "train/checkpoint/verify.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;

std::string join(const std::string& dir, std::string_view name) {
  return (fs::path(dir) / name).string();
}

// Of those that are written here.
std::uint64_t bytes_of(const std::vector<StatePiece>& pieces, const std::vector<bool>& mine) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (mine[i]) bytes += pieces[i].bytes();
  }
  return bytes;
}

class Save {
 public:
  Save(const SaveOptions& options, std::int64_t step, Coordinator& ranks)
      : options_(options), step_(step), ranks_(ranks), files_(options.before_file_operation) {}

  void run(Context& cx, const CheckpointState& state, SaveResult& result) {
    const std::vector<StatePiece> pieces = pieces_of(state);
    const bool first = ranks_.rank() == 0;
    unfinished_ = all_or_none(ranks_, [&] { return first ? make_unfinished() : ""; }).front();
    mine_ = written_here(pieces, ranks_);
    const std::vector<std::string> parts = all_or_none_to_first(ranks_, [&] {
      Manifest part = write_shard(cx, pieces);
      part.frozen = state.frozen;
      return to_text(part);
    });
    const std::string total =
        all_or_none(ranks_, [&] { return first ? commit(parts) : ""; }).front();
    result.path = join(options_.dir, step_name(step_));
    result.bytes = std::stoull(total);
    result.committed = true;
  }

  // Best effort: what stays is removed at the next start.
  void abandon() noexcept {
    std::error_code ignored;
    if (ranks_.rank() == 0 && !unfinished_.empty()) fs::remove_all(unfinished_, ignored);
  }

  // After the commit.
  std::vector<std::string> clear_away() const {
    std::vector<std::string> warnings;
    if (ranks_.rank() != 0) return warnings;
    if (!replaced_.empty()) discard(replaced_, warnings);
    try {
      discard_replaced(warnings);
      prune(warnings);
    } catch (const std::exception& e) {
      warnings.push_back(fmt::format("old checkpoints not deleted: {}", e.what()));
    }
    return warnings;
  }

 private:
  // What earlier saves that failed after their rename have left: it must not come back to life when
  // the checkpoint that replaced it is deleted.
  void discard_replaced(std::vector<std::string>& warnings) const {
    for (const std::string& name : names_in(options_.dir)) {
      const std::optional<std::int64_t> step = replaced_step_of(name);
      if (step && fs::exists(join(options_.dir, step_name(*step))))
        discard(join(options_.dir, name), warnings);
    }
  }

  void prune(std::vector<std::string>& warnings) const {
    if (options_.keep_last <= 0) return;
    // Later ones than this are of a run that was left behind. They are not this run's to delete,
    // and counted they would push out the one just verified.
    std::int64_t kept = 0;
    for (const CheckpointPlace& old : list_checkpoints(options_.dir)) {
      if (old.step > step_) continue;
      if (kept == options_.keep_last) {
        if (old.step != options_.best) discard(old.path, warnings);
      } else if (old.step == step_ || is_whole(old.path)) {
        ++kept;
      }
    }
  }

  void discard(const std::string& path, std::vector<std::string>& warnings) const {
    try {
      files_.discard(path);
    } catch (const std::exception& e) {
      warnings.push_back(fmt::format("old checkpoint not deleted: {}", e.what()));
    }
  }
  bool is_whole(const std::string& path) const {
    return std::ranges::count(options_.damaged, path) == 0 && looks_whole(CheckpointFiles(), path);
  }

  std::string make_unfinished() const {
    files_.make_durable_dirs(options_.dir);
    std::string path = temporary_name(join(options_.dir, step_name(step_)), kUnfinishedMark);
    files_.make_dir(path);
    return path;
  }

  void check_room(const std::vector<StatePiece>& pieces) const {
    const std::uint64_t needed = bytes_of(pieces, mine_);
    const std::uint64_t room = fs::space(unfinished_).available;
    if (needed > room) {
      throw Error(ErrorKind::kIo, fmt::format("{}: no room: {} bytes to write, {} free",
                                              options_.dir, needed, room));
    }
  }

  // What is this rank's own comes first: then it lies at the same place in the files of all ranks
  // that have the same pieces, and the manifest names the place once.
  std::vector<const StatePiece*> in_file_order(const std::vector<StatePiece>& pieces) const {
    std::vector<const StatePiece*> order;
    for (std::size_t i = 0; i < pieces.size(); ++i)
      if (mine_[i]) order.push_back(&pieces[i]);
    std::ranges::stable_partition(
        order, [](const StatePiece* p) { return p->share != Share::kReplicated; });
    return order;
  }

  // This rank's part of the manifest.
  Manifest write_shard(Context& cx, const std::vector<StatePiece>& pieces) const {
    check_room(pieces);
    Manifest part;
    part.step = step_;
    part.ranks = ranks_.size();
    const std::string path = join(unfinished_, shard_name(ranks_.rank()));
    const std::vector<const StatePiece*> mine = in_file_order(pieces);
    ShardWriter shard(files_, path, mine);
    shard.set_attribute("step", step_);
    shard.set_attribute("rank", ranks_.rank());
    for (const StatePiece* p : mine) {
      const HostBytes bytes(cx, *p);
      const std::int64_t at = shard.add(*p, bytes);
      part.entries.push_back({p->name,
                              p->kind,
                              p->dtype,
                              p->shape,
                              p->share,
                              p->begin,
                              p->full,
                              at,
                              {{ranks_.rank(), hash_of(bytes.span())}}});
    }
    shard.close();
    const FileDigest digest = digest_file(path);
    part.files.push_back({ranks_.rank(), digest.bytes, digest.xxh3});
    return part;
  }

  // Gives the number of bytes of all files.
  std::string commit(const std::vector<std::string>& parts) {
    Manifest all;
    all.step = step_;
    all.ranks = ranks_.size();
    all.model = options_.run.model;
    all.recipe = options_.run.recipe;
    all.layout = options_.run.layout;
    all.lineage = options_.run.lineage;
    all.score = options_.score;
    EntryMerger entries;
    for (const std::string& text : parts) {
      Manifest part = parse_manifest(text);
      all.files.insert(all.files.end(), part.files.begin(), part.files.end());
      entries.add(std::move(part.entries));
      merge_frozen(all.frozen, part.frozen);
    }
    all.entries = entries.take();
    const std::string manifest = to_text(all);
    files_.write_text(join(unfinished_, kManifestName), manifest);
    files_.sync(unfinished_);
    replaced_ = files_.publish(unfinished_, join(options_.dir, step_name(step_)));
    unfinished_.clear();  // under its own name now; what an exchange put in its place has to stay
    files_.sync(options_.dir);
    std::uint64_t bytes = manifest.size();
    for (const ManifestFile& f : all.files)
      bytes += f.bytes;
    return std::to_string(bytes);
  }

  const SaveOptions& options_;
  std::int64_t step_;
  Coordinator& ranks_;
  CheckpointFiles files_;
  std::string unfinished_, replaced_;
  std::vector<bool> mine_;  // by piece: whether this rank writes it
};

}  // namespace

std::int64_t checkpoint_bytes(const CheckpointState& state, Coordinator& ranks) {
  const std::vector<StatePiece> pieces = pieces_of(state);
  return static_cast<std::int64_t>(bytes_of(pieces, written_here(pieces, ranks)));
}

SaveResult save_checkpoint(Context& cx, const SaveOptions& options, std::int64_t step,
                           const CheckpointState& state, Coordinator& ranks) {
  SaveResult result;
  Save save(options, step, ranks);
  try {
    save.run(cx, state, result);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::kCheckpoint && e.kind() != ErrorKind::kIo) throw;
    save.abandon();
    result.why = e.what();
    return result;
  }
  ranks.all_gather_after([&] {  // a file server may take its time
    result.warnings = save.clear_away();
    return "";
  });
  return result;
}

}  // namespace gradwire
