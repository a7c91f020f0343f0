// One connection to one peer: frames go out in the order given, and come in as they come, straight
// into the memory that `place` names. Used on the thread that runs the io_context only.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/ip/tcp.hpp>

#include "comm/tcp/frame.h"

namespace gradwire {

class TcpConnection : public std::enable_shared_from_this<TcpConnection> {
 public:
  // Where the bytes after this header go. What `place` and `arrived` throw leaves through
  // io_context::run, and so does Error(kComm) for what is no frame, or a damaged one.
  using Place = std::function<std::byte*(const FrameHeader&)>;
  using Arrived = std::function<void(const FrameHeader&)>;
  // Once; with the reason. Not after close().
  using Ended = std::function<void(const std::string& why)>;
  using Sent = std::function<void()>;

  explicit TcpConnection(boost::asio::ip::tcp::socket socket);

  void start(Place place, Arrived arrived, Ended ended);
  // The payload must stay as it is until `sent` is called, which is never called after close().
  void send(FrameHeader header, const std::byte* payload, Sent sent);
  bool flushed() const { return queue_.empty(); }
  // Says that nothing more will be sent.
  void shut();
  void close();
  bool is_open() const { return socket_.is_open(); }

 private:
  struct Outgoing {
    FrameHeader header;
    const std::byte* payload;
    Sent sent;
  };
  void read_header();
  void read_payload();
  void deliver();
  void write_next();
  void end(const std::string& why);

  boost::asio::ip::tcp::socket socket_;
  Place place_;
  Arrived arrived_;
  Ended ended_;
  FrameHeader incoming_;
  std::byte* payload_ = nullptr;
  std::deque<Outgoing> queue_;
};

}  // namespace gradwire
