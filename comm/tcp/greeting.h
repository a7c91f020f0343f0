// How the two ends of a new connection prove to each other that they are ranks of one job
// (comm/tcp/hello.h). Coroutines of the meeting's io_context.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "comm/tcp/hello.h"
#include "comm/tcp/tcp_comm.h"

namespace gradwire {

struct Guest {
  Hello hello;
  Reply welcome;  // what it waits for, if there is a place for it
};

// Hears who has connected, within `options.greeting`. Nothing: a stranger, who has been shown out
// and told why. Throws what sockets throw.
boost::asio::awaitable<std::optional<Guest>> greet(
    std::shared_ptr<boost::asio::ip::tcp::socket> guest, const TcpOptions& options);
boost::asio::awaitable<void> refuse(boost::asio::ip::tcp::socket& guest, std::string why);

// Where a connection leads, for messages: "rank 2 on host b", "10.0.0.2:29400".
struct Destination {
  int rank = 0;
  std::string name, place;
};

// Says `hello` to the rank at the other end, until it is welcome; `doing` says what is waited for
// meanwhile. Errors: kComm, with the reason of a refusal.
boost::asio::awaitable<void> introduce(boost::asio::ip::tcp::socket& socket, Hello hello,
                                       Destination to, const TcpOptions& options,
                                       std::string& doing);

}  // namespace gradwire
