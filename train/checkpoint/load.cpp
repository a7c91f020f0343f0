#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/printable.h"
#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/shard.h"
#include "train/checkpoint/state.h"
#include "train/checkpoint/verify.h"

namespace gradwire {
namespace {

// A rank's copy of an entry.
struct Source {
  const ManifestEntry* entry;
  ManifestEntry::Copy copy;
};

// Which entries of a manifest this rank reads for each piece of its state.
class Match {
 public:
  Match(const Manifest& manifest, const LoadOptions& options, int rank, int ranks)
      : manifest_(manifest), options_(options), rank_(rank), ranks_(ranks) {
    by_name_.reserve(manifest.entries.size());
    for (const ManifestEntry& e : manifest.entries)
      by_name_[e.name].push_back(&e);
  }

  // Nothing if the piece stays as it was constructed. Errors: kCheckpoint if nothing fits.
  std::optional<Source> source(std::string_view name, Share share) const {
    int owner = rank_;
    if (is_dropped(share)) return std::nullopt;
    if (share == Share::kPerRank && other_ranks()) {
      const std::optional<int> taken = options_.resize(name, manifest_.ranks);
      if (!taken) return std::nullopt;
      owner = *taken;
    }
    for (const ManifestEntry* e : entries(name)) {
      if (share == Share::kReplicated) return Source{e, e->copies.front()};
      const auto copy = std::ranges::find(e->copies, owner, &ManifestEntry::Copy::rank);
      if (copy != e->copies.end()) return Source{e, *copy};
    }
    throw Error(ErrorKind::kCheckpoint, fmt::format("no {} of rank {}", name, owner));
  }

  const std::vector<const ManifestEntry*>& entries(std::string_view name) const {
    return by_name_.at(name);
  }
  // All copies that were saved under a name, in the order of the ranks.
  std::vector<Source> all_sources(std::string_view name) const {
    std::vector<Source> all;
    for (const ManifestEntry* e : entries(name))
      for (const ManifestEntry::Copy& copy : e->copies)
        all.push_back({e, copy});
    std::ranges::stable_sort(all, {}, [](const Source& s) { return s.copy.rank; });
    return all;
  }
  bool other_ranks() const {
    return manifest_.ranks != ranks_ || manifest_.layout != options_.layout;
  }

  bool is_dropped(Share share) const { return share == Share::kPerLayout && other_ranks(); }

  // Saved, but not of these pieces. If no rank wants it, the checkpoint is of another run.
  std::vector<std::string> unwanted(const std::vector<StatePiece>& pieces) const {
    std::unordered_set<std::string_view> wanted;
    for (const StatePiece& piece : pieces)
      wanted.insert(piece.name);
    std::vector<std::string> extra;
    for (const auto& [name, entries] : by_name_) {
      const bool needed = (!options_.weights_only || name.starts_with(kParamPrefix)) &&
                          !is_dropped(entries.front()->share);
      if (needed && !wanted.contains(name)) extra.emplace_back(name);
    }
    std::ranges::sort(extra);
    return extra;
  }

  // Everything that keeps these pieces from being loaded, at once.
  std::vector<std::string> problems(const std::vector<StatePiece>& pieces) const {
    std::vector<std::string> found, missing, unsplit;
    for (const StatePiece& piece : pieces) {
      if (is_dropped(piece.share)) continue;
      const auto saved = by_name_.find(piece.name);
      if (saved == by_name_.end()) {
        missing.push_back(piece.name);
      } else if (const ManifestEntry* other = unlike(piece, {saved->second.front()})) {
        found.push_back(difference(piece, *other));
      } else if (other_ranks() && !has_rule(piece)) {
        unsplit.push_back(piece.name);
      } else if (const ManifestEntry* read = unlike(piece, sources(piece))) {
        found.push_back(difference(piece, *read));
      }
    }
    if (!missing.empty()) found.push_back(fmt::format("missing: {}", fmt::join(missing, ", ")));
    if (!unsplit.empty()) {
      found.push_back(fmt::format("saved by {} ranks, loaded by {}, and no rule for {}",
                                  manifest_.ranks, ranks_, fmt::join(unsplit, ", ")));
    }
    return found;
  }

 private:
  // The entries of all that is read for a piece. What ranks saved under one name need not be of one
  // shape.
  std::vector<const ManifestEntry*> sources(const StatePiece& piece) const {
    const auto& all = entries(piece.name);
    const bool sliced = piece.full != ManifestEntry::kNoSlice || all.front()->is_slice();
    if (sliced || (piece.share == Share::kMean && other_ranks())) return all;
    const std::optional<Source> own = source(piece.name, piece.share);
    return own ? std::vector{own->entry} : std::vector<const ManifestEntry*>();
  }
  // The first of them that the piece cannot be read from, or null.
  static const ManifestEntry* unlike(const StatePiece& piece,
                                     const std::vector<const ManifestEntry*>& entries) {
    const auto found =
        std::ranges::find_if(entries, [&](const ManifestEntry* e) { return !alike(piece, *e); });
    return found == entries.end() ? nullptr : *found;
  }
  // A tensor that all ranks hold and the slices of one of its size are the same state.
  static bool alike(const StatePiece& piece, const ManifestEntry& e) {
    const bool sliced = piece.full != ManifestEntry::kNoSlice;
    if (sliced != e.is_slice() && piece.kind == e.kind && piece.dtype == e.dtype) {
      const Share whole = sliced ? e.share : piece.share;
      const std::int64_t wanted = sliced ? piece.full : piece.shape.numel();
      const std::int64_t saved = sliced ? e.shape.numel() : e.full;
      return whole == Share::kReplicated && wanted == saved;
    }
    return piece.kind == e.kind && piece.share == e.share && piece.dtype == e.dtype &&
           piece.full == e.full &&
           (piece.shape == e.shape || piece.kind == StateKind::kText || e.is_slice());
  }
  // Whether a piece can be had from another number of ranks.
  bool has_rule(const StatePiece& piece) const {
    if (piece.share == Share::kMean) return is_float(piece.dtype);
    const bool own = piece.share == Share::kPerRank && piece.full == ManifestEntry::kNoSlice;
    return !own || options_.resize != nullptr;
  }
  static std::string difference(const StatePiece& piece, const ManifestEntry& e) {
    const auto words = [](const auto& x) {
      return fmt::format("{} {} {}{}", name_of(x.kind), name_of(x.dtype), to_string(x.shape),
                         x.full != ManifestEntry::kNoSlice ? fmt::format(" of {}", x.full)
                         : x.share == Share::kReplicated   ? ""
                         : x.share == Share::kPerRank      ? " per rank"
                         : x.share == Share::kPerLayout    ? " per layout"
                                                           : " to be averaged");
    };
    return fmt::format("{}: saved as {}, wanted as {}", piece.name, words(e), words(piece));
  }

  const Manifest& manifest_;
  const LoadOptions& options_;
  int rank_, ranks_;
  std::unordered_map<std::string_view, std::vector<const ManifestEntry*>> by_name_;
};

// Writes saved values into the state it visits.
class Restorer final : public StateVisitor {
 public:
  Restorer(Context& cx, const std::string& dir, int saved_ranks, const Match& match)
      : cx_(cx), match_(match), shards_(dir, saved_ranks) {}

  void tensor(std::string_view name, Tensor& t, Share share) override {
    if (share == Share::kMean && match_.other_ranks()) {
      return on_host(t, [&](void* out) { read_mean(name, t.dtype(), t.numel(), out); });
    }
    if (match_.is_dropped(share)) return;
    if (match_.entries(name).front()->is_slice()) return slice(name, t, 0, t.numel());
    const std::optional<Source> source = match_.source(name, share);
    if (source) on_host(t, [&](void* out) { read(*source, out); });
  }
  void slice(std::string_view name, Tensor& t, std::int64_t begin, std::int64_t) override {
    on_host(t, [&](void* out) {
      for (const Source& source : match_.all_sources(name))
        read_overlap(source, begin, begin + t.numel(), static_cast<std::byte*>(out));
    });
  }
  void number(std::string_view name, std::int64_t& v, Share share) override {
    if (const auto source = match_.source(name, share)) read(*source, &v);
  }
  void number(std::string_view name, double& v, Share share) override {
    if (share == Share::kMean && match_.other_ranks()) return read_mean(name, DType::kF64, 1, &v);
    if (const auto source = match_.source(name, share)) read(*source, &v);
  }
  void text(std::string_view name, std::string& v, Share share) override {
    const std::optional<Source> source = match_.source(name, share);
    if (!source) return;
    std::string saved(source->entry->bytes(), '\0');
    read(*source, saved.data());
    v = std::move(saved);
  }

 private:
  // f(host memory of the tensor's bytes), and to the device with them.
  template <class F>
  void on_host(Tensor& t, const F& f) {
    on_device(
        t.device(), [&](Device) { f(t.raw()); },
        [&](auto) {
          std::vector<std::byte> staged(t.bytes());
          f(static_cast<void*>(staged.data()));
          cuda::copy_to_device(cx_.stream, t.raw(), staged.data(), staged.size());
        });
  }
  // The mean over the ranks that saved it, added up in their order and rounded once.
  void read_mean(std::string_view name, DType dtype, std::int64_t n, void* out) {
    std::vector<double> sum(static_cast<std::size_t>(n));
    std::vector<std::byte> staged(sum.size() * size_of(dtype));
    const std::vector<Source> saved = match_.all_sources(name);
    on_float(dtype, [&](auto type) {
      using T = typename decltype(type)::type;
      for (const Source& source : saved) {
        read(source, staged.data());
        for (std::int64_t i = 0; i < n; ++i)
          sum[static_cast<std::size_t>(i)] +=
              static_cast<double>(gradwire::load<T>(staged.data(), i));
      }
      for (std::int64_t i = 0; i < n; ++i) {
        const double mean = sum[static_cast<std::size_t>(i)] / static_cast<double>(saved.size());
        gradwire::store<T>(out, i, static_cast<Compute<T>>(mean));
      }
    });
  }
  // What of a saved slice lies in [begin, end) of the tensor, to its place in `out`.
  void read_overlap(const Source& source, std::int64_t begin, std::int64_t end, std::byte* out) {
    const ManifestEntry& e = *source.entry;
    const std::int64_t from = std::max(begin, e.begin), to = std::min(end, e.end());
    if (from >= to) return;
    const std::size_t size = size_of(e.dtype);
    std::vector<std::byte> staged(e.bytes());
    read(source, staged.data());
    const auto bytes = [&](std::int64_t elements) {
      return static_cast<std::size_t>(elements) * size;
    };
    std::memcpy(out + bytes(from - begin), staged.data() + bytes(from - e.begin), bytes(to - from));
  }
  // The caller's memory is of the entry's size: Match has compared the shapes.
  void read(const Source& source, void* out) {
    shards_.read(*source.entry, source.copy,
                 std::span(static_cast<std::byte*>(out), source.entry->bytes()));
  }

  Context& cx_;
  const Match& match_;
  ShardReader shards_;
};

void refuse_if(const std::vector<std::string>& problems) {
  if (!problems.empty()) {
    throw Error(ErrorKind::kCheckpoint, fmt::format("{}", fmt::join(problems, "; ")));
  }
}

void check_model(const Manifest& manifest, const std::string& model) {
  if (manifest.model != model) {
    throw Error(ErrorKind::kCheckpoint,
                fmt::format("of another model: it says '{}', this run is '{}'",
                            printable_word(manifest.model), printable_word(model)));
  }
}

void check_recipe(const Manifest& manifest, const LoadOptions& options) {
  const std::string objection = options.objection ? options.objection(manifest.recipe) : "";
  if (!objection.empty()) throw Error(ErrorKind::kCheckpoint, objection);
}

std::string not_of_this_run(const std::vector<std::string>& names) {
  return fmt::format("not of this run: {}", fmt::join(names, ", "));
}

// What no rank has a use for. The same on all ranks.
void refuse_unwanted(const std::vector<std::string>& by_rank) {
  std::vector<std::string> extra = lines_of(by_rank.front());
  for (const std::string& text : by_rank) {
    const std::vector<std::string> list = lines_of(text);
    const std::unordered_set<std::string> theirs(list.begin(), list.end());
    std::erase_if(extra, [&](const std::string& name) { return !theirs.contains(name); });
  }
  if (!extra.empty()) refuse_if({not_of_this_run(extra)});
}

std::vector<ParameterDigest> not_here(std::vector<ParameterDigest> frozen,
                                      const std::vector<ParameterDigest>& here) {
  std::unordered_set<std::string> names;
  for (const ParameterDigest& p : here)
    names.insert(p.name);
  std::erase_if(frozen, [&](const ParameterDigest& p) { return names.contains(p.name); });
  return frozen;
}

Error unreadable(const std::string& path, const Error& e) {
  return {
      ErrorKind::kIo,
      fmt::format("{}: {}. It may be good, so no older checkpoint is taken: start again when the "
                  "file system answers, or move this checkpoint away",
                  path, e.what())};
}

// Throws Error(kCheckpoint or kIo) on all ranks if it fails on one.
LoadResult load_one(Context& cx, const std::string& path, const LoadOptions& options,
                    const CheckpointState& state, Coordinator& ranks) {
  const CheckpointFiles files(options.before_file_operation);
  Manifest manifest;
  const std::vector<std::string> unwanted = all_or_none(ranks, [&] {
    manifest = read_manifest(path, files);
    check_model(manifest, options.model);
    check_recipe(manifest, options);
    refuse_if(file_problems(files, path, manifest,
                            [&](int shard) { return shard % ranks.size() == ranks.rank(); }));
    refuse_if(slice_problems(manifest));
    refuse_if(frozen_problems(manifest, state.frozen));
    const Match match(manifest, options, ranks.rank(), ranks.size());
    const std::vector<StatePiece> pieces = pieces_of(state);
    std::vector<std::string> extra = match.unwanted(pieces);
    for (const ParameterDigest& p : not_here(manifest.frozen, state.frozen))
      extra.push_back("frozen " + p.name);
    std::vector<std::string> found = match.problems(pieces);
    if (!found.empty() && !extra.empty()) found.push_back(not_of_this_run(extra));
    refuse_if(found);
    return fmt::format("{}", fmt::join(extra, "\n"));
  });
  refuse_unwanted(unwanted);
  // Only now, with nothing to object on any rank, is the first value overwritten.
  all_or_none(ranks, [&] {
    const Match match(manifest, options, ranks.rank(), ranks.size());
    Restorer restorer(cx, path, manifest.ranks, match);
    visit_all(state, restorer);
    for (Parameter* p : state.params)
      ++p->version;
    return "";
  });
  return {manifest.step, path, manifest.ranks, manifest.recipe, manifest.lineage, {}, {}};
}

}  // namespace

LoadResult load_checkpoint(Context& cx, const std::vector<std::string>& paths,
                           const LoadOptions& options, const CheckpointState& state,
                           Coordinator& ranks) {
  const std::string list = ranks.all_gather(fmt::format("{}", fmt::join(paths, "\n"))).front();
  std::vector<std::string> refused, paths_refused;
  for (const std::string& path : lines_of(list)) {
    try {
      LoadResult result = load_one(cx, path, options, state, ranks);
      result.warnings = std::move(refused);
      result.passed_over = std::move(paths_refused);
      return result;
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::kIo) throw unreadable(path, e);
      if (e.kind() != ErrorKind::kCheckpoint) throw;
      refused.push_back(fmt::format("{}: {}", path, e.what()));
      paths_refused.push_back(path);
    }
  }
  throw Error(ErrorKind::kCheckpoint,
              refused.empty()
                  ? "no checkpoint to load"
                  : fmt::format("no checkpoint can be loaded: {}", fmt::join(refused, "\n  ")));
}

}  // namespace gradwire
