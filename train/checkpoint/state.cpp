#include "train/checkpoint/state.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/hash.h"

namespace gradwire {
namespace {

class Collector final : public StateVisitor {
 public:
  void tensor(std::string_view name, Tensor& t, Share share) override {
    StatePiece& piece = add(name, StateKind::kTensor, share);
    piece.tensor = t;
    piece.dtype = t.dtype();
    piece.shape = t.shape();
  }
  void slice(std::string_view name, Tensor& t, std::int64_t begin, std::int64_t full) override {
    tensor(name, t, Share::kPerRank);
    pieces.back().begin = begin;
    pieces.back().full = full;
  }
  void number(std::string_view name, std::int64_t& v, Share share) override {
    StatePiece& piece = add(name, StateKind::kInteger, share);
    piece.dtype = DType::kI64;
    keep(piece, &v, sizeof v);
  }
  void number(std::string_view name, double& v, Share share) override {
    StatePiece& piece = add(name, StateKind::kReal, share);
    piece.dtype = DType::kF64;
    keep(piece, &v, sizeof v);
  }
  void text(std::string_view name, std::string& v, Share share) override {
    StatePiece& piece = add(name, StateKind::kText, share);
    piece.dtype = DType::kU8;
    piece.shape = {static_cast<std::int64_t>(v.size())};
    keep(piece, v.data(), v.size());
  }

  std::vector<StatePiece> pieces;

 private:
  StatePiece& add(std::string_view name, StateKind kind, Share share) {
    if (!names_.emplace(name).second) {
      throw Error(ErrorKind::kInternal, fmt::format("two pieces of state are named {}", name));
    }
    StatePiece& piece = pieces.emplace_back();
    piece.name = name;
    piece.kind = kind;
    piece.share = share;
    return piece;
  }
  static void keep(StatePiece& piece, const void* value, std::size_t bytes) {
    piece.value.resize(bytes);
    if (bytes > 0) std::memcpy(piece.value.data(), value, bytes);
  }

  std::unordered_set<std::string> names_;
};

}  // namespace

void visit_all(const CheckpointState& state, StateVisitor& visitor) {
  for (Parameter* p : state.params)
    visitor.tensor(std::string(kParamPrefix) + p->name, p->value);
  for (Stateful* part : state.parts)
    part->visit_state(visitor);
}

std::vector<StatePiece> pieces_of(const CheckpointState& state) {
  Collector collector;
  visit_all(state, collector);
  return std::move(collector.pieces);
}

std::vector<bool> written_here(const std::vector<StatePiece>& pieces, Coordinator& ranks) {
  std::string shared;
  for (const StatePiece& piece : pieces)
    if (piece.share == Share::kReplicated) shared += piece.name + "\n";
  // Mostly all ranks have the same; their names are only sent if not.
  const std::string digest = fmt::format("{:x}", hash_of(shared));
  const std::vector<std::string> digests = ranks.all_gather(digest);
  std::unordered_map<std::string, std::vector<int>> holders;
  if (std::ranges::count(digests, digest) != std::ssize(digests)) {
    const std::vector<std::string> lists = ranks.all_gather(shared);
    for (int r = 0; r < ranks.size(); ++r)
      for (const std::string& name : lines_of(lists[static_cast<std::size_t>(r)]))
        holders[name].push_back(r);
  }
  std::vector<bool> here;
  for (const StatePiece& piece : pieces) {
    const std::uint64_t spread = hash_of(piece.name);
    const auto found = holders.find(piece.name);
    const bool all = found == holders.end();
    const auto among = static_cast<std::uint64_t>(all ? ranks.size() : std::ssize(found->second));
    const int turn = static_cast<int>(spread % among);
    const int writer = all ? turn : found->second[static_cast<std::size_t>(turn)];
    here.push_back(piece.share != Share::kReplicated || writer == ranks.rank());
  }
  return here;
}

HostBytes::HostBytes(Context& cx, const StatePiece& piece)
    : data_(piece.value.data()), size_(piece.value.size()) {
  if (piece.kind != StateKind::kTensor) return;
  size_ = piece.tensor.bytes();
  on_device(
      piece.tensor.device(), [&](Device) { data_ = piece.tensor.raw(); },
      [&](auto) {
        staged_.resize(size_);
        cuda::copy_to_host(cx.stream, staged_.data(), piece.tensor.raw(), size_);
        data_ = staged_.data();
      });
}

}  // namespace gradwire
