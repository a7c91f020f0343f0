#include "train/checkpoint/shard.h"

#include <algorithm>
#include <cstring>
#include <filesystem>

#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"

namespace gradwire {
namespace {

constexpr std::size_t kSmallBytes = 64 << 10;
constexpr std::int64_t kBlockBytes = 256 << 10;
constexpr std::int64_t kAllBlocksBytes = 64 << 20;  // of a reader, for each element type
constexpr std::int64_t kLeastBlockBytes = 16 << 10;
constexpr std::size_t kMostOpen = 64;  // far below what a process may open

std::string packed_name(DType dtype) {
  return fmt::format("{}{}", kPackedPrefix, name_of(dtype));
}

// As few blocks as kBlockBytes allows, and all of nearly one size: a dataset takes whole ones.
std::int64_t block_elements(std::int64_t elements, DType dtype) {
  const std::int64_t most = kBlockBytes / static_cast<std::int64_t>(size_of(dtype));
  const std::int64_t blocks = std::max<std::int64_t>(1, (elements + most - 1) / most);
  return std::max<std::int64_t>(1, (elements + blocks - 1) / blocks);
}

}  // namespace

bool is_small(const StatePiece& piece) {
  return piece.bytes() < kSmallBytes;
}

ShardWriter::ShardWriter(const CheckpointFiles& files, const std::string& path,
                         const std::vector<const StatePiece*>& pieces)
    : files_(files), path_(path), file_([&] {
        files.announce("create", path);
        return Hdf5File::create(path);
      }()) {
  std::map<DType, std::int64_t> elements;
  for (const StatePiece* piece : pieces)
    if (is_small(*piece)) elements[piece->dtype] += piece->shape.numel();
  for (const auto& [dtype, n] : elements) {
    Pack& pack = packs_[dtype];
    pack.block_elements = block_elements(n, dtype);
    pack.data.emplace(file_.create_growing(
        packed_name(dtype), {.dtype = dtype, .chunk_elements = pack.block_elements}));
  }
}

std::int64_t ShardWriter::add(const StatePiece& piece, const HostBytes& bytes) {
  if (!is_small(piece)) {
    files_.announce("write " + piece.name, path_);
    file_.write(piece.name, piece.dtype, piece.shape, bytes.data());
    return ManifestEntry::kOwnDataset;
  }
  Pack& pack = packs_.at(piece.dtype);
  const std::int64_t at = pack.elements;
  const auto block = static_cast<std::size_t>(pack.block_elements) * size_of(piece.dtype);
  for (std::span<const std::byte> rest = bytes.span(); !rest.empty();) {
    const std::size_t n = std::min(rest.size(), block - pack.waiting.size());
    pack.waiting.insert(pack.waiting.end(), rest.begin(), rest.begin() + std::ssize(rest.first(n)));
    rest = rest.subspan(n);
    if (pack.waiting.size() == block) write_waiting(piece.dtype, pack);
  }
  pack.elements += piece.shape.numel();
  return at;
}

void ShardWriter::write_waiting(DType dtype, Pack& pack) {
  files_.announce("write " + packed_name(dtype), path_);
  pack.data->append(static_cast<std::int64_t>(pack.waiting.size() / size_of(dtype)),
                    pack.waiting.data());
  pack.waiting.clear();
}

void ShardWriter::set_attribute(const std::string& name, std::int64_t value) {
  file_.set_attribute(name, value);
}

void ShardWriter::close() {
  for (auto& [dtype, pack] : packs_)
    if (!pack.waiting.empty()) write_waiting(dtype, pack);
  files_.announce("close", path_);
  file_.flush();  // where errors show: those of a dataset that is let go of are lost
  packs_.clear();
  file_.close();
  files_.sync(path_);
}

ShardReader::ShardReader(std::string dir, int ranks)
    : dir_(std::move(dir)),
      block_bytes_(std::clamp(kAllBlocksBytes / ranks, kLeastBlockBytes, kBlockBytes)) {}

void ShardReader::read(const ManifestEntry& entry, const ManifestEntry::Copy& copy,
                       std::span<std::byte> out) {
  if (entry.is_packed()) {
    read_packed(entry, copy.rank, out);
  } else {
    file(copy.rank).read(entry.name, entry.dtype, entry.shape, out.data());
  }
  if (hash_of(out) != copy.xxh3) {
    throw Error(ErrorKind::kCheckpoint,
                fmt::format("{}: '{}' is not what was saved", shard_name(copy.rank), entry.name));
  }
}

void ShardReader::read_packed(const ManifestEntry& entry, int rank, std::span<std::byte> out) {
  if (out.empty()) return;
  Block& block = blocks_[{rank, entry.dtype}];
  const std::int64_t end = entry.at + entry.shape.numel();
  if (entry.at < block.begin || end > block.end) fill(block, entry, rank);
  const auto offset = static_cast<std::size_t>(entry.at - block.begin) * size_of(entry.dtype);
  std::memcpy(out.data(), block.bytes.data() + offset, out.size());
}

// From a multiple of the block's size on, so that it does not matter in which direction one reads.
void ShardReader::fill(Block& block, const ManifestEntry& entry, int rank) {
  block = {};
  const Hdf5Dataset data = file(rank).dataset(packed_name(entry.dtype));
  const std::int64_t end = entry.at + entry.shape.numel();
  if (data.dtype() != entry.dtype || data.shape().rank() != 1 || end > data.rows()) {
    throw Error(ErrorKind::kCheckpoint,
                fmt::format("{}: '{}': {} has no elements {} to {}", shard_name(rank), entry.name,
                            packed_name(entry.dtype), entry.at, end));
  }
  const auto size = static_cast<std::int64_t>(size_of(entry.dtype));
  const std::int64_t elements = block_bytes_ / size;
  const std::int64_t begin = entry.at / elements * elements;
  const std::int64_t stop = std::min(data.rows(), std::max(begin + elements, end));
  block.bytes.resize(static_cast<std::size_t>((stop - begin) * size));
  data.read_rows(begin, stop - begin, block.bytes.data());
  block.begin = begin;
  block.end = stop;
}

const Hdf5File& ShardReader::file(int rank) {
  const auto found = open_.find(rank);
  if (found != open_.end()) return found->second;
  if (open_.size() >= kMostOpen) open_.clear();
  const std::string path = (std::filesystem::path(dir_) / shard_name(rank)).string();
  return open_.emplace(rank, Hdf5File::open(path)).first->second;
}

}  // namespace gradwire
