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

}  // namespace gradwire
