#include "comm/plan.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "comm/reduce.h"
#include "comm/staged_gather.h"

namespace gradwire {
namespace {

// What the planners of one piece share. "Part r" is what rank r reduces, keeps or passes on.
struct Planner {
  const Call& call;
  int rank;
  int ranks;
  Piece piece;
  std::vector<std::byte>& scratch;

  std::int64_t length() const { return piece.end - piece.begin; }
  std::size_t bytes(std::int64_t elements) const {
    return static_cast<std::size_t>(elements) * call.element_bytes();
  }

  // The other ranks, beginning with the next one, so that not all send to the same rank at once.
  template <class F>
  void for_each_peer(const F& f) const {
    for (int i = 1; i < ranks; ++i)
      f((rank + i) % ranks);
  }
  static void add(std::vector<Transfer>& list, int peer, std::byte* data, std::size_t bytes) {
    if (bytes > 0) list.push_back({peer, data, bytes});
  }

  // Part r of an in-place call whose piece is cut into nearly equal parts.
  std::byte* part(int r) const {
    return call.out + bytes(piece.begin + part_begin(length(), ranks, r));
  }
  std::size_t part_bytes(int r) const {
    return bytes(part_begin(length(), ranks, r + 1) - part_begin(length(), ranks, r));
  }
  // The piece of part r of a tensor that holds one part of `stride` elements for each rank.
  std::byte* slot(std::byte* base, std::int64_t stride, int r) const {
    return base + bytes(stride * r + piece.begin);
  }

  // Receives one message of `size` bytes from every peer into scratch; returns all sources in rank
  // order, with `own` in this rank's place.
  std::vector<const void*> receive_to_reduce(Round& round, std::byte* own, std::size_t size) const {
    scratch.resize(std::max(scratch.size(), size * static_cast<std::size_t>(ranks)));
    std::vector<const void*> sources(static_cast<std::size_t>(ranks), own);
    for_each_peer([&](int peer) {
      std::byte* to = scratch.data() + size * static_cast<std::size_t>(peer);
      add(round.receives, peer, to, size);
      sources[static_cast<std::size_t>(peer)] = to;
    });
    return sources;
  }

  std::function<void()> reduce_into(std::byte* dst, std::vector<const void*> sources,
                                    std::int64_t n) const {
    return [dst, n, dtype = call.dtype, op = call.op, sources = std::move(sources)] {
      reduce_in_rank_order(dtype, op, dst, sources, n);
    };
  }
};

void append(std::vector<Round>& rounds, std::vector<Round> more) {
  std::ranges::move(more, std::back_inserter(rounds));
}

// Every rank gets the tensors of all and reduces them.
std::vector<Round> plan_whole_all_reduce(const Planner& p) {
  const std::size_t size = p.bytes(p.length());
  std::byte* const own = p.call.out + p.bytes(p.piece.begin);
  const StagedGather gather(p.rank, p.ranks, [size](int) { return size; });
  p.scratch.resize(std::max(p.scratch.size(), gather.bytes()));
  std::byte* const memory = p.scratch.data();
  std::copy_n(own, size, gather.part(memory, p.rank));
  std::vector<Round> rounds = gather.rounds(memory);
  std::vector<const void*> sources;
  for (int r = 0; r < p.ranks; ++r)
    sources.push_back(gather.part(memory, r));
  rounds.back().then = p.reduce_into(own, std::move(sources), p.length());
  return rounds;
}

// A scatter as ever, then what it gave in stages.
std::vector<Round> plan_staged_all_reduce(const Planner& p) {
  std::vector<Round> rounds(1);
  std::byte* const own = p.part(p.rank);
  const std::size_t own_bytes = p.part_bytes(p.rank);
  const StagedGather gather(p.rank, p.ranks, [&](int r) { return p.part_bytes(r); });
  const std::size_t received = own_bytes * static_cast<std::size_t>(p.ranks);
  p.scratch.resize(std::max(p.scratch.size(), received + gather.bytes()));
  std::byte* const memory = p.scratch.data() + received;
  p.for_each_peer(
      [&](int peer) { Planner::add(rounds[0].sends, peer, p.part(peer), p.part_bytes(peer)); });
  const auto elements = static_cast<std::int64_t>(own_bytes / p.call.element_bytes());
  rounds[0].then =
      [reduce = p.reduce_into(own, p.receive_to_reduce(rounds[0], own, own_bytes), elements), own,
       own_bytes, to = gather.part(memory, p.rank)] {
        reduce();
        std::copy_n(own, own_bytes, to);
      };
  append(rounds, gather.rounds(memory));
  rounds.back().then = [p, gather, memory] {
    for (int r = 0; r < p.ranks; ++r)
      if (r != p.rank) std::copy_n(gather.part(memory, r), gather.part_bytes(r), p.part(r));
  };
  return rounds;
}

std::vector<Round> plan_all_reduce(const Planner& p) {
  if (is_gathered_whole(p.call)) return plan_whole_all_reduce(p);
  if (is_gathered_in_stages(p.call, p.ranks)) return plan_staged_all_reduce(p);
  std::vector<Round> rounds(2);
  std::byte* const own = p.part(p.rank);
  const std::size_t own_bytes = p.part_bytes(p.rank);
  p.for_each_peer([&](int peer) {
    Planner::add(rounds[0].sends, peer, p.part(peer), p.part_bytes(peer));
    Planner::add(rounds[1].sends, peer, own, own_bytes);
    Planner::add(rounds[1].receives, peer, p.part(peer), p.part_bytes(peer));
  });
  const auto elements = static_cast<std::int64_t>(own_bytes / p.call.element_bytes());
  rounds[0].then = p.reduce_into(own, p.receive_to_reduce(rounds[0], own, own_bytes), elements);
  return rounds;
}

std::vector<Round> plan_broadcast(const Planner& p) {
  std::vector<Round> rounds(2);
  const int root = p.call.root;
  const bool is_root = p.rank == root;
  std::byte* const own = p.part(p.rank);
  const std::size_t own_bytes = p.part_bytes(p.rank);
  if (!is_root) Planner::add(rounds[0].receives, root, own, own_bytes);
  p.for_each_peer([&](int peer) {
    if (is_root) Planner::add(rounds[0].sends, peer, p.part(peer), p.part_bytes(peer));
    if (peer != root) Planner::add(rounds[1].sends, peer, own, own_bytes);
    if (!is_root) Planner::add(rounds[1].receives, peer, p.part(peer), p.part_bytes(peer));
  });
  return rounds;
}

std::vector<Round> plan_reduce_scatter(const Planner& p) {
  std::vector<Round> rounds(1);
  const std::int64_t stride = p.call.count / p.ranks;
  const std::size_t size = p.bytes(p.length());
  p.for_each_peer([&](int peer) {
    Planner::add(rounds[0].sends, peer, p.slot(p.call.in, stride, peer), size);
  });
  std::byte* const own = p.slot(p.call.in, stride, p.rank);
  rounds[0].then = p.reduce_into(p.call.out + p.bytes(p.piece.begin),
                                 p.receive_to_reduce(rounds[0], own, size), p.length());
  return rounds;
}

std::vector<Round> plan_staged_gather(const Planner& p) {
  const std::size_t size = p.bytes(p.length());
  const StagedGather gather(p.rank, p.ranks, [size](int) { return size; });
  p.scratch.resize(std::max(p.scratch.size(), gather.bytes()));
  std::byte* const memory = p.scratch.data();
  std::copy_n(p.slot(p.call.in, 0, p.rank), size, gather.part(memory, p.rank));
  std::vector<Round> rounds = gather.rounds(memory);
  rounds.back().then = [p, gather, memory, size] {
    for (int r = 0; r < p.ranks; ++r)
      std::copy_n(gather.part(memory, r), size, p.slot(p.call.out, p.call.count, r));
  };
  return rounds;
}

// All-gather and all-to-all: they differ in what goes to a peer.
std::vector<Round> plan_direct(const Planner& p) {
  std::vector<Round> rounds(1);
  const bool gather = p.call.kind != CallKind::kAllToAll;
  const std::int64_t stride = gather ? p.call.count : p.call.count / p.ranks;
  const std::size_t size = p.bytes(p.length());
  const auto outgoing = [&](int peer) { return p.slot(p.call.in, gather ? 0 : stride, peer); };
  p.for_each_peer([&](int peer) {
    Planner::add(rounds[0].sends, peer, outgoing(peer), size);
    Planner::add(rounds[0].receives, peer, p.slot(p.call.out, stride, peer), size);
  });
  std::byte* const from = outgoing(p.rank);
  std::byte* const to = p.slot(p.call.out, stride, p.rank);
  if (from != to) {
    rounds[0].then = [from, to, size] { std::memcpy(to, from, size); };
  }
  return rounds;
}

std::vector<Round> plan_barrier(const Planner& p) {
  if (is_gathered_in_stages(p.call, p.ranks)) {
    return StagedGather(p.rank, p.ranks, [](int) { return 0; }).rounds(nullptr, true);
  }
  std::vector<Round> rounds(1);
  p.for_each_peer([&](int peer) {
    rounds[0].sends.push_back({peer, nullptr, 0});
    rounds[0].receives.push_back({peer, nullptr, 0});
  });
  return rounds;
}

}  // namespace

std::vector<Piece> cut_into_pieces(const Call& call, int ranks, std::int64_t piece_bytes) {
  if (call.kind == CallKind::kBarrier) return {Piece{}};
  const bool in_parts = call.kind == CallKind::kAllReduce || call.kind == CallKind::kBroadcast;
  const bool gather = call.kind == CallKind::kAllGather || call.kind == CallKind::kSplit;
  const std::int64_t length = in_parts || gather ? call.count : call.count / ranks;
  // All messages of a piece together have about its size. What travels in parts is cut at multiples
  // of the number of ranks, so that cutting changes no rank's share.
  const std::int64_t wanted = piece_bytes / static_cast<std::int64_t>(call.element_bytes());
  const std::int64_t step = std::max<std::int64_t>(1, wanted / ranks) * (in_parts ? ranks : 1);
  std::vector<Piece> pieces;
  for (std::int64_t begin = 0; begin < length; begin += step)
    pieces.push_back({begin, std::min(length, begin + step)});
  return pieces;
}

std::vector<Round> plan_rounds(const Call& call, int rank, int ranks, Piece piece,
                               std::vector<std::byte>& scratch) {
  const Planner p{call, rank, ranks, piece, scratch};
  switch (call.kind) {
    case CallKind::kAllReduce: return plan_all_reduce(p);
    case CallKind::kReduceScatter: return plan_reduce_scatter(p);
    case CallKind::kAllGather:
    case CallKind::kSplit:
      return is_gathered_in_stages(call, ranks) ? plan_staged_gather(p) : plan_direct(p);
    case CallKind::kAllToAll: return plan_direct(p);
    case CallKind::kBroadcast: return plan_broadcast(p);
    case CallKind::kBarrier: return plan_barrier(p);
    case CallKind::kExchange: break;
  }
  return {};
}

Round plan_exchange(const Call& call, std::int64_t piece_bytes) {
  const auto limit = static_cast<std::size_t>(piece_bytes);
  Round round;
  for (const P2p& p : call.group) {
    std::vector<Transfer>& list = p.dir == P2p::Dir::kSend ? round.sends : round.receives;
    auto* data = static_cast<std::byte*>(p.buffer.raw());
    std::size_t left = p.buffer.bytes();
    do {
      const std::size_t bytes = std::min(left, limit);
      list.push_back({p.peer, data, bytes});
      data += bytes;
      left -= bytes;
    } while (left > 0);
  }
  return round;
}

}  // namespace gradwire
