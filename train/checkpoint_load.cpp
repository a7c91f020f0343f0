#include <cstring>
#include <filesystem>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "data/hdf5.h"
#include "train/checkpoint.h"
#include "train/checkpoint_state.h"
#include "train/checkpoint_verify.h"

namespace gradwire {
namespace {

// Which entry of a manifest this rank reads for each piece of its state.
class Match {
 public:
  Match(const Manifest& manifest, const LoadOptions& options, int rank, int ranks)
      : manifest_(manifest), options_(options), rank_(rank), ranks_(ranks) {
    for (const ManifestEntry& e : manifest.entries)
      by_name_[e.name].push_back(&e);
  }

  // Null where the resize rule leaves the piece alone. Errors: kCheckpoint where nothing fits.
  const ManifestEntry* entry(std::string_view name, Share share) const {
    int owner = rank_;
    if (share == Share::kPerRank && manifest_.ranks != ranks_) {
      const std::optional<int> taken = options_.resize(name, manifest_.ranks);
      if (!taken) return nullptr;
      owner = *taken;
    }
    for (const ManifestEntry* e : by_name_.at(std::string(name))) {
      if (share == Share::kReplicated || e->rank == owner) return e;
    }
    throw Error(ErrorKind::kCheckpoint, fmt::format("no {} of rank {}", name, owner));
  }

  // Everything that keeps these pieces from being loaded, at once.
  std::vector<std::string> problems(const std::vector<StatePiece>& pieces) const {
    std::vector<std::string> found, missing, extra, unsplit;
    std::unordered_set<std::string> wanted;
    for (const StatePiece& piece : pieces) {
      wanted.insert(piece.name);
      const auto saved = by_name_.find(piece.name);
      if (saved == by_name_.end()) {
        missing.push_back(piece.name);
      } else if (!alike(piece, *saved->second.front())) {
        found.push_back(difference(piece, *saved->second.front()));
      } else if (piece.share == Share::kPerRank && manifest_.ranks != ranks_ && !options_.resize) {
        unsplit.push_back(piece.name);
      }
    }
    for (const auto& [name, entries] : by_name_) {
      const bool needed = !options_.weights_only || name.starts_with(kParamPrefix);
      if (needed && !wanted.contains(name)) extra.push_back(name);
    }
    if (!missing.empty()) found.push_back(fmt::format("missing: {}", fmt::join(missing, ", ")));
    if (!extra.empty()) found.push_back(fmt::format("not of this run: {}", fmt::join(extra, ", ")));
    if (!unsplit.empty()) {
      found.push_back(fmt::format("saved by {} ranks, loaded by {}, and no rule for {}",
                                  manifest_.ranks, ranks_, fmt::join(unsplit, ", ")));
    }
    return found;
  }

 private:
  static bool alike(const StatePiece& piece, const ManifestEntry& e) {
    return piece.kind == e.kind && piece.share == e.share && piece.dtype == e.dtype &&
           (piece.shape == e.shape || piece.kind == StateKind::kText);
  }
  static std::string difference(const StatePiece& piece, const ManifestEntry& e) {
    const auto words = [](const auto& x) {
      return fmt::format("{} {} {}{}", name_of(x.kind), name_of(x.dtype), to_string(x.shape),
                         x.share == Share::kPerRank ? " per rank" : "");
    };
    return fmt::format("{}: saved as {}, wanted as {}", piece.name, words(e), words(piece));
  }

  const Manifest& manifest_;
  const LoadOptions& options_;
  int rank_, ranks_;
  std::map<std::string, std::vector<const ManifestEntry*>> by_name_;
};

// Writes saved values into the state it visits.
class Restorer final : public StateVisitor {
 public:
  Restorer(Context& cx, std::string dir, const Match& match)
      : cx_(cx), dir_(std::move(dir)), match_(match) {}

  void tensor(std::string_view name, Tensor& t, Share share) override {
    const ManifestEntry* e = match_.entry(name, share);
    if (e == nullptr) return;
    on_device(
        t.device(), [&](Device) { read(*e, t.raw(), t.bytes()); },
        [&](auto) {
          std::vector<std::byte> staged(t.bytes());
          read(*e, staged.data(), staged.size());
          cuda::copy_to_device(cx_.stream, t.raw(), staged.data(), staged.size());
        });
  }
  void number(std::string_view name, std::int64_t& v, Share share) override {
    if (const ManifestEntry* e = match_.entry(name, share)) read(*e, &v, sizeof v);
  }
  void number(std::string_view name, double& v, Share share) override {
    if (const ManifestEntry* e = match_.entry(name, share)) read(*e, &v, sizeof v);
  }
  void text(std::string_view name, std::string& v, Share share) override {
    const ManifestEntry* e = match_.entry(name, share);
    if (e == nullptr) return;
    std::string saved(static_cast<std::size_t>(e->shape.numel()), '\0');
    read(*e, saved.data(), saved.size());
    v = std::move(saved);
  }

 private:
  void read(const ManifestEntry& e, void* out, std::size_t bytes) {
    file(e.rank).read(e.name, e.dtype, e.shape, out);
    if (xxh3_of(out, bytes) != e.xxh3) {
      throw Error(ErrorKind::kCheckpoint,
                  fmt::format("{}: '{}' is not what was saved", shard_name(e.rank), e.name));
    }
  }
  const Hdf5File& file(int rank) {
    constexpr std::size_t kMostOpen = 64;  // far below what a process may open
    const auto found = open_.find(rank);
    if (found != open_.end()) return found->second;
    if (open_.size() >= kMostOpen) open_.clear();
    const std::string path = (std::filesystem::path(dir_) / shard_name(rank)).string();
    return open_.emplace(rank, Hdf5File::open(path)).first->second;
  }

  Context& cx_;
  std::string dir_;
  const Match& match_;
  std::unordered_map<int, Hdf5File> open_;
};

void refuse_if(const std::vector<std::string>& problems) {
  if (!problems.empty()) {
    throw Error(ErrorKind::kCheckpoint, fmt::format("{}", fmt::join(problems, "; ")));
  }
}

// Sizes are bounded by the file before anything of that size is allocated.
void check_sizes(const Manifest& manifest) {
  std::unordered_map<int, std::uint64_t> file_bytes;
  for (const ManifestFile& f : manifest.files)
    file_bytes[f.rank] = f.bytes;
  for (const ManifestEntry& e : manifest.entries) {
    if (static_cast<std::uint64_t>(e.shape.numel()) * size_of(e.dtype) > file_bytes[e.rank]) {
      throw Error(ErrorKind::kCheckpoint, fmt::format("{}: larger than its file", e.name));
    }
  }
}

void check_model(const Manifest& manifest, const std::string& model) {
  if (manifest.model != model) {
    throw Error(
        ErrorKind::kCheckpoint,
        fmt::format("of another model: it says '{}', this run is '{}'", manifest.model, model));
  }
}

// Throws Error(kCheckpoint) on all ranks where it fails on one.
LoadResult load_one(Context& cx, const std::string& path, const LoadOptions& options,
                    const CheckpointState& state, Coordinator& ranks) {
  Manifest manifest;
  all_or_none(ranks, [&] {
    manifest = read_manifest(path);
    check_model(manifest, options.model);
    refuse_if(file_problems(path, manifest,
                            [&](int shard) { return shard % ranks.size() == ranks.rank(); }));
    check_sizes(manifest);
    refuse_if(Match(manifest, options, ranks.rank(), ranks.size()).problems(pieces_of(state)));
    return "";
  });
  // Only now, with nothing to object on any rank, is the first value overwritten.
  all_or_none(ranks, [&] {
    const Match match(manifest, options, ranks.rank(), ranks.size());
    Restorer restorer(cx, path, match);
    visit_all(state, restorer);
    for (Parameter* p : state.params)
      ++p->version;
    return "";
  });
  return {manifest.step, path, manifest.ranks, manifest.recipe, {}};
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> all;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    all.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return all;
}

}  // namespace

LoadResult load_checkpoint(Context& cx, const std::vector<std::string>& paths,
                           const LoadOptions& options, const CheckpointState& state,
                           Coordinator& ranks) {
  const std::string list = ranks.all_gather(fmt::format("{}", fmt::join(paths, "\n"))).front();
  std::vector<std::string> refused;
  for (const std::string& path : lines(list)) {
    try {
      LoadResult result = load_one(cx, path, options, state, ranks);
      result.warnings = std::move(refused);
      return result;
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::kCheckpoint) throw;
      refused.push_back(fmt::format("{}: {}", path, e.what()));
    }
  }
  throw Error(ErrorKind::kCheckpoint,
              refused.empty()
                  ? "no checkpoint to load"
                  : fmt::format("no checkpoint can be loaded: {}", fmt::join(refused, "\n  ")));
}

}  // namespace gradwire
