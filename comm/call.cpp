#include "comm/call.h"

#include <fmt/format.h>

#include "comm/reduce.h"

namespace gradwire {

const char* name_of(CallKind kind) {
  switch (kind) {
    case CallKind::kAllReduce: return "all-reduce";
    case CallKind::kReduceScatter: return "reduce-scatter";
    case CallKind::kAllGather: return "all-gather";
    case CallKind::kAllToAll: return "all-to-all";
    case CallKind::kBroadcast: return "broadcast";
    case CallKind::kExchange: return "exchange";
    case CallKind::kBarrier: return "barrier";
    case CallKind::kSplit: return "split";
  }
  return "?";
}

std::string describe(const Call& call) {
  const std::string name = fmt::format("{} #{}", name_of(call.kind), call.sequence);
  const auto bytes = call.count * static_cast<std::int64_t>(call.element_bytes());
  switch (call.kind) {
    case CallKind::kBarrier:
    case CallKind::kSplit: return name;
    case CallKind::kExchange: return fmt::format("{} ({} messages)", name, call.group.size());
    case CallKind::kAllReduce:
    case CallKind::kReduceScatter:
      return fmt::format("{} ({} bytes of {}, {})", name, bytes, name_of(call.dtype),
                         name_of(call.op));
    case CallKind::kBroadcast:
      return fmt::format("{} ({} bytes of {}, root {})", name, bytes, name_of(call.dtype),
                         call.root);
    default: return fmt::format("{} ({} bytes of {})", name, bytes, name_of(call.dtype));
  }
}

bool matches(const Call& a, const Call& b) {
  return a.kind == b.kind && a.count == b.count && a.dtype == b.dtype && a.op == b.op &&
         a.root == b.root;
}

std::int64_t sent_bytes(const Call& call, int rank, int ranks) {
  const std::int64_t size = static_cast<std::int64_t>(call.element_bytes());
  const std::int64_t others = ranks - 1;
  const std::int64_t own =
      part_begin(call.count, ranks, rank + 1) - part_begin(call.count, ranks, rank);
  switch (call.kind) {
    case CallKind::kAllReduce: return (call.count - own + others * own) * size;
    case CallKind::kReduceScatter:
    case CallKind::kAllToAll: return call.count / ranks * others * size;
    case CallKind::kAllGather:
    case CallKind::kSplit: return call.count * others * size;
    case CallKind::kBroadcast:
      return rank == call.root ? (call.count - own + others * own) * size
                               : (others - 1) * own * size;
    case CallKind::kExchange: {
      std::int64_t sum = 0;
      for (const P2p& p : call.group) {
        if (p.dir == P2p::Dir::kSend) sum += static_cast<std::int64_t>(p.buffer.bytes());
      }
      return sum;
    }
    case CallKind::kBarrier: return 0;
  }
  return 0;
}

std::int64_t all_reduce_bytes(std::int64_t n, int ranks) {
  Call call;
  call.kind = CallKind::kAllReduce;
  call.dtype = DType::kF32;
  call.count = n;
  return sent_bytes(call, 0, ranks);
}

}  // namespace gradwire
