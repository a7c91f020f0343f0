#include "comm/tcp/peer.h"

#include <cstring>
#include <utility>

namespace gradwire {

void TcpPeer::send(const FrameHeader& header, const std::byte* payload, TcpConnection::Sent sent) {
  if (!data.empty()) {
    const std::size_t which = (header.number + header.round) % data.size();
    return data[which]->send(header, payload, std::move(sent));
  }
  std::byte* const to = inbox.begin(header);
  if (header.bytes > 0) std::memcpy(to, payload, header.bytes);
  inbox.finish(header);
  if (sent) sent();
}

void TcpPeer::tell(FrameHeader header, const std::string& text) {
  header.bytes = text.size();
  if (control) {
    const auto kept = std::make_shared<std::string>(text);
    control->send(header, reinterpret_cast<const std::byte*>(kept->data()), [kept] {});
  } else {
    inbox.begin(header);
    inbox.finish(header);
  }
}

}  // namespace gradwire
