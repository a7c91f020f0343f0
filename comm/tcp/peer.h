// Another rank of a TCP world, or this one: what is sent to it, and what has come from it.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "comm/tcp/connection.h"
#include "comm/tcp/inbox.h"

namespace gradwire {

struct TcpPeer {
  std::string host;
  Inbox inbox;
  std::shared_ptr<TcpConnection> control;  // null for this rank itself
  std::vector<std::shared_ptr<TcpConnection>> data;
  bool left = false;  // said goodbye
  std::string note;   // the payload of a frame on `control`
  std::optional<std::chrono::steady_clock::time_point> broken_since;
  std::string broken_why;

  // A message; large ones are spread over the connections. `sent` may come at once.
  void send(const FrameHeader& header, const std::byte* payload, TcpConnection::Sent sent);
  // A frame beside the messages; `text` is its payload.
  void tell(FrameHeader header, const std::string& text = {});
};

}  // namespace gradwire
