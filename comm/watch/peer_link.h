// One connection of the peer watch: lines of text, read as they come, written at once. Used on the
// thread that runs the io_context only; reading keeps the link alive.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/streambuf.hpp>

#include "comm/proof.h"

namespace gradwire {

class PeerLink : public std::enable_shared_from_this<PeerLink> {
 public:
  using OnLine = std::function<void(PeerLink&, const std::string& line)>;
  using OnClosed = std::function<void(PeerLink&)>;

  // A peer whose host has gone silent for `silence` is given up.
  PeerLink(boost::asio::ip::tcp::socket socket, std::chrono::milliseconds silence, OnLine on_line,
           OnClosed on_closed);

  int peer = -1;   // its rank, once known
  Digest nonce{};  // that it was asked with to prove who it is

  void read();
  // A peer that is gone loses it: on_closed will tell.
  void write(const std::string& line);
  void close();

 private:
  boost::asio::ip::tcp::socket socket_;
  boost::asio::streambuf received_;
  OnLine on_line_;
  OnClosed on_closed_;
};

}  // namespace gradwire
