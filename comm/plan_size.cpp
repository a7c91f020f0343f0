// What the rounds of plan.cpp come to, without planning them.
#include <algorithm>
#include <vector>

#include "comm/plan.h"
#include "comm/staged_gather.h"

namespace gradwire {
namespace {

// What rank r sends of its part of a call in parts: to each of so many.
SentOnWire sent_directly(std::int64_t bytes, std::int64_t peers) {
  return bytes > 0 ? SentOnWire{bytes * peers, peers} : SentOnWire{};
}

// Parts of a call to the ranks whose they are.
SentOnWire sent_to_owners(const Call& call, int rank, int ranks) {
  const auto size = static_cast<std::int64_t>(call.element_bytes());
  const std::int64_t own =
      part_begin(call.count, ranks, rank + 1) - part_begin(call.count, ranks, rank);
  const std::int64_t owners = std::min<std::int64_t>(ranks, call.count);
  return {(call.count - own) * size, owners - (own > 0 ? 1 : 0)};
}

SentOnWire sent_in_all_reduce(const Call& call, int rank, int ranks) {
  const auto size = static_cast<std::int64_t>(call.element_bytes());
  const auto part_bytes = [&](int r) {
    return size * (part_begin(call.count, ranks, r + 1) - part_begin(call.count, ranks, r));
  };
  if (is_gathered_whole(call)) {
    const auto whole = static_cast<std::size_t>(call.count * size);
    return StagedGather(rank, ranks, [whole](int) { return whole; }).sent();
  }
  SentOnWire sent = sent_to_owners(call, rank, ranks);
  if (is_gathered_in_stages(call, ranks)) {
    const auto bytes = [&](int r) { return static_cast<std::size_t>(part_bytes(r)); };
    sent += StagedGather(rank, ranks, bytes).sent();
  } else {
    sent += sent_directly(part_bytes(rank), ranks - 1);
  }
  return sent;
}

SentOnWire sent_in_exchange(const Call& call) {
  SentOnWire sent;
  for (const P2p& p : call.group) {
    if (p.dir == P2p::Dir::kSend) sent += {static_cast<std::int64_t>(p.buffer.bytes()), 1};
  }
  return sent;
}

SentOnWire sent_in_broadcast(const Call& call, int rank, int ranks) {
  const auto size = static_cast<std::int64_t>(call.element_bytes());
  const std::int64_t own =
      size * (part_begin(call.count, ranks, rank + 1) - part_begin(call.count, ranks, rank));
  if (rank != call.root) return sent_directly(own, ranks - 2);
  SentOnWire sent = sent_to_owners(call, rank, ranks);
  sent += sent_directly(own, ranks - 1);
  return sent;
}

}  // namespace

SentOnWire sent_by(const Call& call, int rank, int ranks) {
  const auto size = static_cast<std::int64_t>(call.element_bytes());
  if (call.kind == CallKind::kExchange) return sent_in_exchange(call);
  if (ranks == 1) return {};
  switch (call.kind) {
    case CallKind::kAllReduce: return sent_in_all_reduce(call, rank, ranks);
    case CallKind::kReduceScatter:
    case CallKind::kAllToAll: return sent_directly(call.count / ranks * size, ranks - 1);
    case CallKind::kAllGather:
    case CallKind::kSplit: {
      if (!is_gathered_in_stages(call, ranks)) return sent_directly(call.count * size, ranks - 1);
      const auto part = static_cast<std::size_t>(call.count * size);
      return StagedGather(rank, ranks, [part](int) { return part; }).sent();
    }
    case CallKind::kBroadcast: return sent_in_broadcast(call, rank, ranks);
    case CallKind::kBarrier:
    case CallKind::kExchange: break;
  }
  SentOnWire barrier;
  std::vector<std::byte> scratch;
  for (const Round& round : plan_rounds(call, rank, ranks, {}, scratch))
    barrier.messages += std::ssize(round.sends);
  return barrier;
}

std::int64_t all_reduce_bytes(std::int64_t n, int ranks) {
  Call call;
  call.kind = CallKind::kAllReduce;
  call.dtype = DType::kF32;
  call.count = n;
  // The largest part is the first rank's. In stages ranks also pass on what is others'.
  if (!is_gathered_in_stages(call, ranks)) return sent_by(call, 0, ranks).bytes;
  std::int64_t most = 0;
  for (int r = 0; r < ranks; ++r)
    most = std::max(most, sent_by(call, r, ranks).bytes);
  return most;
}

}  // namespace gradwire
