// The connection between rank 0 and one other rank while ranks meet, after the welcome: frames
// (comm/tcp/frame.h), queued and read as they come. Nothing is ever read beyond a whole frame, so
// that the socket can be handed on to the engine. Used on the thread of the io_context only.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "comm/tcp/frame.h"

namespace gradwire {

class MeetingLink : public std::enable_shared_from_this<MeetingLink> {
 public:
  using Clock = std::chrono::steady_clock;
  using Heard = std::function<void(FrameType, std::string payload)>;
  using Ended = std::function<void()>;

  // Frames of more than `most_bytes` end it.
  MeetingLink(boost::asio::ip::tcp::socket socket, std::size_t most_bytes);

  // `ended` is called once at most, and not after close() or release().
  void start(Heard heard, Ended ended);
  void send(FrameType type, const std::string& payload = {});
  // Before all frames: what a greeting ends with.
  void send_bytes(std::string bytes);
  bool flushed() const { return queue_.empty(); }
  // What comes from now on is for who takes the socket over.
  void stop_reading() { reads_ = false; }
  void close();
  // The socket, with what has not been read; nothing is called any more.
  boost::asio::ip::tcp::socket release();

  // When something came last. Moved on by those who were not awake to hear it.
  Clock::time_point heard_at = Clock::now();

 private:
  boost::asio::awaitable<void> read_all();
  void write_next();
  void end();

  boost::asio::ip::tcp::socket socket_;
  std::size_t most_bytes_;
  Heard heard_;
  Ended ended_;
  std::deque<std::string> queue_;
  bool reads_ = true;
  bool over_ = false;
};

}  // namespace gradwire
