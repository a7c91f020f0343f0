// The manifest of a checkpoint: what was saved by whom, which files there are, and checksums of
// both. Written last; a folder without a manifest that fits is not a checkpoint. The text is JSON
// and carries a checksum of itself, so that a flipped bit in it is seen too.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/state.h"
#include "train/checkpoint/checkpoint.h"

namespace gradwire {

inline constexpr std::int64_t kCheckpointFormat = 1;

// A piece of state is stored as a dataset of its name in its rank's file: a tensor as it is, an
// integer and a real number as scalars, a text as bytes.
enum class StateKind : std::uint8_t { kTensor, kInteger, kReal, kText };
const char* name_of(StateKind kind);

struct ManifestFile {
  int rank = 0;  // its name is shard_name(rank)
  std::uint64_t bytes = 0;
  std::uint64_t xxh3 = 0;
};

struct ManifestEntry {
  std::string name;
  StateKind kind = StateKind::kTensor;
  DType dtype = DType::kF32;
  Shape shape;
  Share share = Share::kReplicated;
  int rank = 0;            // who wrote it
  std::uint64_t xxh3 = 0;  // of the elements
  // Of a slice: its elements are [begin, begin + shape.numel()) of a tensor of `full`.
  std::int64_t begin = 0;
  std::int64_t full = kNoSlice;

  static constexpr std::int64_t kNoSlice = -1;
  bool is_slice() const { return full != kNoSlice; }
  std::int64_t end() const { return begin + shape.numel(); }
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
// Of the checkpoint in `dir`. Errors: kCheckpoint, also if the step in it is not the folder's; kIo
// if it cannot be read.
Manifest read_manifest(const std::string& dir, const CheckpointFiles& files = CheckpointFiles());

}  // namespace gradwire
