#include "train/checkpoint/state.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <span>
#include <unordered_map>
#include <unordered_set>

#include <fmt/format.h>

#include "core/cuda/device_cuda.h"
#include "core/dispatch.h"
#include "core/error.h"
#include "core/hash.h"
#include "train/checkpoint/shard.h"

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
};

void check_names(const std::vector<StatePiece>& pieces) {
  std::unordered_set<std::string_view> names;
  names.reserve(pieces.size());
  for (const StatePiece& piece : pieces) {
    if (!names.insert(piece.name).second) {
      throw Error(ErrorKind::kInternal,
                  fmt::format("two pieces of state are named {}", piece.name));
    }
    if (piece.name.starts_with(kPackedPrefix)) {
      throw Error(ErrorKind::kInternal, fmt::format("a piece of state is named {}", piece.name));
    }
  }
}

// Ranks that hold a piece, by its name, as far as they are not all. Collective.
using Holders = std::unordered_map<std::string, std::vector<int>>;
Holders holders_of(const std::vector<StatePiece>& pieces, Coordinator& ranks) {
  std::string shared;
  for (const StatePiece& piece : pieces)
    if (piece.share == Share::kReplicated) shared += piece.name + "\n";
  // Mostly all ranks have the same; their names are only sent if not.
  const std::string digest = to_hex(hash_of(shared));
  const std::vector<std::string> digests = ranks.all_gather(digest);
  Holders holders;
  if (std::ranges::count(digests, digest) == std::ssize(digests)) return holders;
  const std::vector<std::string> lists = ranks.all_gather(shared);
  for (int r = 0; r < ranks.size(); ++r)
    for (const std::string& name : lines_of(lists[static_cast<std::size_t>(r)]))
      holders[name].push_back(r);
  return holders;
}

// Says which rank writes each piece, one after another, the same on all ranks.
class Spread {
 public:
  Spread(const Holders& holders, int ranks)
      : holders_(holders), all_(static_cast<std::size_t>(ranks)) {
    std::iota(all_.begin(), all_.end(), 0);
  }
  int writer(const StatePiece& piece) {
    const auto found = holders_.find(piece.name);
    const std::vector<int>& among = found == holders_.end() ? all_ : found->second;
    if (!is_small(piece)) return among[hash_of(piece.name) % among.size()];
    std::size_t& bytes = small_bytes_[among];
    const std::size_t run = bytes / kRunBytes;
    bytes += piece.bytes();
    return among[run % among.size()];
  }

 private:
  static constexpr std::size_t kRunBytes = 1 << 20;  // of small pieces that lie in one file
  const Holders& holders_;
  std::vector<int> all_;
  std::map<std::vector<int>, std::size_t> small_bytes_;  // by holders
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
  check_names(collector.pieces);
  return std::move(collector.pieces);
}

std::vector<bool> written_here(const std::vector<StatePiece>& pieces, Coordinator& ranks) {
  const Holders holders = holders_of(pieces, ranks);
  std::vector<std::size_t> shared;
  for (std::size_t i = 0; i < pieces.size(); ++i)
    if (pieces[i].share == Share::kReplicated) shared.push_back(i);
  // Ranks with different pieces may come by them in different orders.
  if (!holders.empty())
    std::ranges::sort(shared, {},
                      [&](std::size_t i) -> const std::string& { return pieces[i].name; });
  std::vector<bool> here(pieces.size(), true);
  Spread spread(holders, ranks.size());
  for (const std::size_t i : shared)
    here[i] = spread.writer(pieces[i]) == ranks.rank();
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
