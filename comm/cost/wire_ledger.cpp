#include "comm/cost/wire_ledger.h"

namespace gradwire {

const char* name_of(Traffic kind) {
  switch (kind) {
    case Traffic::kGradient: return "gradient";
    case Traffic::kActivation: return "activation";
    case Traffic::kParameter: return "parameter";
    case Traffic::kControl: return "control";
    case Traffic::kCount: break;
  }
  return "unknown";
}

WireCount& WireCount::operator+=(const WireCount& other) {
  calls += other.calls;
  sent_bytes += other.sent_bytes;
  dense_bytes += other.dense_bytes;
  messages += other.messages;
  return *this;
}

WireCount operator-(const WireCount& a, const WireCount& b) {
  return {a.calls - b.calls, a.sent_bytes - b.sent_bytes, a.dense_bytes - b.dense_bytes,
          a.messages - b.messages};
}

void WireLedger::add(Traffic kind, std::int64_t sent_bytes, std::int64_t dense_bytes,
                     std::int64_t messages) {
  const std::lock_guard lock(mutex_);
  counts_[static_cast<std::size_t>(kind)] += {1, sent_bytes, dense_bytes, messages};
}

WireCount WireLedger::total(Traffic kind) const {
  const std::lock_guard lock(mutex_);
  return counts_[static_cast<std::size_t>(kind)];
}

WireCount WireLedger::total() const {
  const std::lock_guard lock(mutex_);
  WireCount sum;
  for (const WireCount& c : counts_)
    sum += c;
  return sum;
}

}  // namespace gradwire
