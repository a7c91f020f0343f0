// What travels between two ranks: a header, then so many bytes. Hosts of one job are of one kind,
// so the header travels as it lies in memory; its magic number tells when they are not.
#pragma once

#include <cstdint>
#include <tuple>

#include "comm/call.h"

namespace gradwire {

enum class FrameType : std::uint8_t {
  kRound,    // a message of a round of a collective
  kMessage,  // a piece of a message of an exchange
  kReceipt,  // that message has been received
  kAbort,    // the world has failed; the payload says why
  kGoodbye,  // what follows is an end in good order
  // While ranks meet (comm/tcp/roll.h), on the connections for control:
  kPulse,   // the sender lives
  kParent,  // the payload is the Contact of the rank that has the table
  kTable,   // the payload is the Contact of every rank
  kReady,   // the sender is connected to every rank
  kGo,      // all are
  kStop,    // a stop was requested
  kNews,    // the payload says who lets the others wait
};

// Which message of which channel it is, between two given ranks.
struct FrameKey {
  std::uint64_t channel = 0;
  FrameType type = FrameType::kRound;
  std::uint64_t number = 0;  // of the piece in its channel; of the message between the two ranks
  std::uint32_t round = 0;

  auto operator<=>(const FrameKey&) const = default;
};

struct FrameHeader {
  static constexpr std::uint32_t kMagic = 0x31545747;  // "GWT1"

  std::uint32_t magic = kMagic;
  FrameType type = FrameType::kRound;
  CallKind kind = CallKind::kBarrier;
  DType dtype = DType::kU8;
  ReduceOp op = ReduceOp::kSum;
  std::uint32_t round = 0;
  std::int32_t root = 0;
  std::uint64_t channel = 0;
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;     // that follow
  std::uint64_t checksum = 0;  // of them: XXH3, 64 bits

  FrameKey key() const { return {channel, type, number, round}; }
};
static_assert(sizeof(FrameHeader) == 48);

// Whether both are of the same collective.
inline bool same_call(const FrameHeader& a, const FrameHeader& b) {
  return std::tie(a.kind, a.dtype, a.op, a.root) == std::tie(b.kind, b.dtype, b.op, b.root);
}

}  // namespace gradwire
