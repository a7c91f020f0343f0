// The manifest of a checkpoint: what was saved by whom, which files there are, and checksums of
// both. Written last; a folder without a manifest that fits is not a checkpoint. The text is JSON
// and carries a checksum of itself, so that a flipped bit in it is seen too. Its size, and what it
// takes in memory, is made for thousands of tiny pieces on many ranks: what pieces have in common
// is said once.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/state.h"
#include "train/checkpoint/checkpoint.h"

namespace gradwire {

// Format 1 has a dataset for every piece of state, and a JSON object for every piece and rank; it
// is read and no longer written.
inline constexpr std::int64_t kCheckpointFormat = 2;

// A tensor is stored as it is, an integer and a real number as scalars, a text as bytes: large ones
// as a dataset of the piece's name in its rank's file, small ones one after another in a dataset
// for each element type (train/checkpoint/shard.h).
enum class StateKind : std::uint8_t { kTensor, kInteger, kReal, kText };
const char* name_of(StateKind kind);

struct ManifestFile {
  int rank = 0;  // its name is shard_name(rank)
  std::uint64_t bytes = 0;
  std::uint64_t xxh3 = 0;
};

// A piece of state, and who wrote it. Ranks whose pieces of one name differ in nothing but the
// elements share an entry.
struct ManifestEntry {
  struct Copy {
    int rank = 0;
    std::uint64_t xxh3 = 0;  // of the elements
    bool operator==(const Copy&) const = default;
  };
  std::string name;
  StateKind kind = StateKind::kTensor;
  DType dtype = DType::kF32;
  Shape shape;
  Share share = Share::kReplicated;
  // Of a slice: its elements are [begin, begin + shape.numel()) of a tensor of `full`.
  std::int64_t begin = 0;
  std::int64_t full = kNoSlice;
  // Of a small piece: its first element in the dataset of its element type.
  std::int64_t at = kOwnDataset;
  std::vector<Copy> copies;  // by rank

  static constexpr std::int64_t kNoSlice = -1;
  static constexpr std::int64_t kOwnDataset = -1;
  bool is_slice() const { return full != kNoSlice; }
  bool is_packed() const { return at != kOwnDataset; }
  std::int64_t end() const { return begin + shape.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(shape.numel()) * size_of(dtype); }
};

struct Manifest {
  std::int64_t step = 0;
  int ranks = 1;
  std::string model;  // of RunIdentity
  std::string recipe;
  std::string layout{};
  std::vector<Origin> lineage{};
  std::string id{};  // checksum of the whole text, as it was read; no other checkpoint has it
  std::vector<ManifestFile> files;
  std::vector<ManifestEntry> entries;
  std::optional<CheckpointScore> score{};
  std::vector<ParameterDigest> frozen{};  // CheckpointState::frozen of all ranks, by name
};

std::string to_text(const Manifest& manifest);
// Brings the entries of many ranks together: those that differ in nothing but the copies become
// one.
class EntryMerger {
 public:
  void add(std::vector<ManifestEntry> of_a_rank);
  std::vector<ManifestEntry> take() { return std::move(entries_); }

 private:
  std::vector<ManifestEntry> entries_;
  std::unordered_map<std::string, std::vector<std::size_t>> by_name_;
};

// Errors: kCheckpoint for a text that is damaged, not a manifest, of a later format, or that says
// what cannot be (sizes that overflow, a file of a rank that does not exist).
Manifest parse_manifest(const std::string& text);
// What keeps these parameters, a rank's, from being those of the checkpoint.
std::vector<std::string> frozen_problems(const Manifest& manifest,
                                         const std::vector<ParameterDigest>& here);
// Adds a rank's to those of others; several may have the same one. Errors: kCheckpoint if two ranks
// have different ones of one name.
void merge_frozen(std::vector<ParameterDigest>& all, const std::vector<ParameterDigest>& part);
// What keeps the slices of each tensor from making up all of it: gaps, overlaps, disagreement.
std::vector<std::string> slice_problems(const Manifest& manifest);
// Of the checkpoint in `dir`. Errors: kCheckpoint, also if the step in it is not the folder's, or
// if a rank has saved more than fits in its file; kIo if it cannot be read.
Manifest read_manifest(const std::string& dir, const CheckpointFiles& files = CheckpointFiles());

}  // namespace gradwire
