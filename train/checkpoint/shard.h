// A rank's file of a checkpoint. Large pieces of state have a dataset of their own. Small ones lie
// one after another in a dataset for each element type, "packed/f32" and so on, at the place that
// their manifest entry names: a dataset costs two kilobytes and some hundred microseconds, which
// thousands of tiny parameters would pay on every rank. For train/checkpoint/ only.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "data/hdf5.h"
#include "train/checkpoint/files.h"
#include "train/checkpoint/manifest.h"
#include "train/checkpoint/state.h"

namespace gradwire {

inline constexpr std::string_view kPackedPrefix = "packed/";  // no piece is named so

// Whether a piece is packed.
bool is_small(const StatePiece& piece);

class ShardWriter {
 public:
  // A new file in a folder for the pieces that add() will get, in any order. Errors: kIo.
  ShardWriter(const CheckpointFiles& files, const std::string& path,
              const std::vector<const StatePiece*>& pieces);
  // Gives the piece's place in its packed dataset, or ManifestEntry::kOwnDataset. Errors: kIo.
  std::int64_t add(const StatePiece& piece, const HostBytes& bytes);
  void set_attribute(const std::string& name, std::int64_t value);
  // Everything is in the file, and the file on disk. Errors: kIo.
  void close();

 private:
  // Pieces of one element type that wait until a block of them is full.
  struct Pack {
    std::int64_t elements = 0;  // that were added
    std::int64_t block_elements = 0;
    std::vector<std::byte> waiting;
    std::optional<Hdf5Dataset> data{};
  };
  void write_waiting(DType dtype, Pack& pack);

  const CheckpointFiles& files_;
  std::string path_;
  Hdf5File file_;
  std::map<DType, Pack> packs_;
};

// The files of all ranks of a checkpoint, opened when they are first asked for something, with a
// block of each packed dataset in memory: whoever reads pieces in the order in which they were
// saved reads every block once.
class ShardReader {
 public:
  ShardReader(std::string dir, int ranks);
  // All elements of a copy of an entry. Errors: kCheckpoint if they are not those that were saved;
  // kData and kIo of data/hdf5.h.
  void read(const ManifestEntry& entry, const ManifestEntry::Copy& copy, std::span<std::byte> out);

 private:
  struct Block {
    std::int64_t begin = 0, end = 0;  // elements
    std::vector<std::byte> bytes;
  };
  const Hdf5File& file(int rank);
  void read_packed(const ManifestEntry& entry, int rank, std::span<std::byte> out);
  void fill(Block& block, const ManifestEntry& entry, int rank);

  std::string dir_;
  std::int64_t block_bytes_;
  std::unordered_map<int, Hdf5File> open_;
  std::map<std::pair<int, DType>, Block> blocks_;
};

}  // namespace gradwire
