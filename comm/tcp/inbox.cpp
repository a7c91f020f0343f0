#include "comm/tcp/inbox.h"

#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

void check_message(const FrameHeader& sent, const Inbox::Receive& receive) {
  const FrameHeader& wanted = receive.wanted;
  if (!same_call(sent, wanted)) {
    throw Error(ErrorKind::kComm,
                fmt::format("ranks disagree: rank {} calls {} of {}, rank {} calls {}",
                            receive.peer, name_of(sent.kind), name_of(sent.dtype), receive.rank,
                            describe(*receive.call)));
  }
  if (sent.bytes == wanted.bytes) return;
  throw Error(
      ErrorKind::kComm,
      fmt::format("ranks disagree: {}: rank {} sends {} bytes to rank {}, which expects {}",
                  describe(*receive.call), receive.peer, sent.bytes, receive.rank, wanted.bytes));
}

void Inbox::clear() {
  receives_.clear();
  messages_.clear();
}

void Inbox::expect(Receive receive) {
  const FrameKey key = receive.wanted.key();
  const auto message = messages_.find(key);
  if (message == messages_.end() || !message->second.complete) {
    if (message != messages_.end()) check_message(message->second.header, receive);
    receives_.emplace(key, std::move(receive));
    return;
  }
  check_message(message->second.header, receive);
  const std::vector<std::byte>& bytes = message->second.bytes;
  if (!bytes.empty()) std::memcpy(receive.to, bytes.data(), bytes.size());
  messages_.erase(message);
  receive.done();
}

std::byte* Inbox::begin(const FrameHeader& header) {
  Message& message = messages_[header.key()];
  message.header = header;
  const auto receive = receives_.find(header.key());
  if (receive == receives_.end()) {
    message.bytes.resize(header.bytes);
    return message.bytes.data();
  }
  check_message(header, receive->second);
  message.direct = true;
  return receive->second.to;
}

void Inbox::finish(const FrameHeader& header) {
  const auto message = messages_.find(header.key());
  check(message != messages_.end(), ErrorKind::kInternal, "tcp: a message ends unbegun");
  const auto found = receives_.find(header.key());
  if (found == receives_.end()) {
    message->second.complete = true;
    return;
  }
  const Receive receive = std::move(found->second);
  const std::vector<std::byte>& bytes = message->second.bytes;
  if (!message->second.direct && !bytes.empty()) {
    std::memcpy(receive.to, bytes.data(), bytes.size());
  }
  receives_.erase(found);
  messages_.erase(message);
  receive.done();
}

const FrameHeader* Inbox::early(std::uint64_t channel, std::uint64_t number) const {
  const auto found = messages_.lower_bound({channel, FrameType::kRound, number, 0});
  if (found == messages_.end()) return nullptr;
  const FrameKey& key = found->first;
  const bool of_it =
      key.channel == channel && key.type == FrameType::kRound && key.number == number;
  return of_it ? &found->second.header : nullptr;
}

}  // namespace gradwire
