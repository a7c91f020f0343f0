// A collective as rounds of messages, for transports that move bytes between two ranks. Reductions
// and broadcasts are a scatter of parts followed by a gather of parts: two rounds, each rank sends
// 2 (n-1)/n of the tensor as in a ring, and every part is reduced by one rank, in rank order, which
// makes the result the same everywhere. The other collectives go to their destinations directly.
// Where messages would be small and many, parts are gathered in stages (comm/staged_gather.h), and
// a tensor of a few words is gathered whole and reduced by every rank, in rank order as well. A
// long call is cut into pieces, which follow each other, so that reducing overlaps with sending.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "comm/call.h"

namespace gradwire {

struct Transfer {
  int peer = 0;
  std::byte* data = nullptr;
  std::size_t bytes = 0;
};

struct Round {
  std::vector<Transfer> sends;
  std::vector<Transfer> receives;
  std::function<void()> then;  // once all of them are done; may be empty
};

// Elements [begin, end) of the tensor, or of each rank's part if parts are what travels.
struct Piece {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};
// What a rank hands to its transport.
struct SentOnWire {
  std::int64_t bytes = 0;  // payload
  std::int64_t messages = 0;
  SentOnWire& operator+=(const SentOnWire& other) {
    bytes += other.bytes;
    messages += other.messages;
    return *this;
  }
  friend bool operator==(const SentOnWire&, const SentOnWire&) = default;
};

// The same on every rank. Empty if there is nothing to send.
std::vector<Piece> cut_into_pieces(const Call& call, int ranks, std::int64_t piece_bytes);
// `scratch` grows as needed and must live as long as the rounds, and so must `call`.
std::vector<Round> plan_rounds(const Call& call, int rank, int ranks, Piece piece,
                               std::vector<std::byte>& scratch);
// What `rank` sends in the rounds of a call that is not cut.
SentOnWire sent_by(const Call& call, int rank, int ranks);
// Payload of an all-reduce of n floats, for the busiest of so many ranks.
std::int64_t all_reduce_bytes(std::int64_t n, int ranks);

// The messages of an exchange, each in pieces of at most so many bytes.
Round plan_exchange(const Call& call, std::int64_t piece_bytes);

}  // namespace gradwire
