// Hears out whoever connects while ranks meet, many at once, so that strangers hold up nobody.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "comm/tcp/greeting.h"
#include "comm/tcp/tcp_comm.h"

namespace gradwire {

// What ranks say while they meet is short, and must not wait for the receipt of what they said
// before.
void be_quick(boost::asio::ip::tcp::socket& socket);

class Reception {
 public:
  // Ranks of this job; what the returned sentence says is the reason to refuse one all the same.
  using Admit =
      std::function<std::string(boost::asio::ip::tcp::socket& socket, const Guest& guest)>;

  Reception(boost::asio::io_context& io, const TcpOptions& options, Admit admit)
      : io_(io), options_(options), admit_(std::move(admit)) {}

  void add(boost::asio::ip::tcp::acceptor door) { doors_.push_back(std::move(door)); }
  std::uint16_t port() const { return doors_.front().local_endpoint().port(); }
  // At all doors, from now on.
  void open();

 private:
  boost::asio::awaitable<void> accept_at(boost::asio::ip::tcp::acceptor& door);
  boost::asio::awaitable<void> hear_out(std::shared_ptr<boost::asio::ip::tcp::socket> guest);

  boost::asio::io_context& io_;
  const TcpOptions& options_;
  const Admit admit_;
  std::vector<boost::asio::ip::tcp::acceptor> doors_;
  int greetings_ = 0;  // of those who have not proved yet who they are
};

}  // namespace gradwire
