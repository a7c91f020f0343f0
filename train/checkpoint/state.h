// The pieces of a run's state, by name, as a checkpoint sees them. For train/checkpoint/ only.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "train/checkpoint/checkpoint.h"
#include "train/checkpoint/manifest.h"
#include "train/coordinator.h"

namespace gradwire {

inline constexpr std::string_view kParamPrefix = "param/";  // of a parameter's value

// One piece: for a tensor the handle, for anything else the value as it is stored.
struct StatePiece {
  std::string name;
  StateKind kind = StateKind::kTensor;
  DType dtype = DType::kF32;
  Shape shape;
  Share share = Share::kReplicated;
  std::int64_t begin = 0;  // of a slice
  std::int64_t full = ManifestEntry::kNoSlice;
  Tensor tensor;
  std::vector<std::byte> value;

  std::size_t bytes() const { return static_cast<std::size_t>(shape.numel()) * size_of(dtype); }
};

// Walks the state without changing it. Error(kInternal) if two pieces have one name,
// or one has a name that packs have in files.
std::vector<StatePiece> pieces_of(const CheckpointState& state);

// Which of these pieces this rank writes: its own, and of what several ranks hold its share, spread
// evenly; small ones lie together in as few files as that allows. Collective.
std::vector<bool> written_here(const std::vector<StatePiece>& pieces, Coordinator& ranks);

// The bytes of a piece in host memory, for as long as this object and the piece live.
class HostBytes {
 public:
  HostBytes(Context& cx, const StatePiece& piece);
  const void* data() const { return data_; }
  std::span<const std::byte> span() const { return {static_cast<const std::byte*>(data_), size_}; }

 private:
  std::vector<std::byte> staged_;
  const void* data_ = nullptr;
  std::size_t size_ = 0;
};

// Walks the parameters and every part with one visitor.
void visit_all(const CheckpointState& state, StateVisitor& visitor);

}  // namespace gradwire
