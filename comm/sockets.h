// What all our TCP connections have in common.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

namespace gradwire {

// Small messages leave at once, and the connection to a host that has gone silent is given up after
// `silence`, no sooner: so long may the network pause. At least a second.
void make_watchful(boost::asio::ip::tcp::socket& socket, std::chrono::milliseconds silence);
// Connects to the first of `addresses` that answers within some seconds. False: none does.
bool connect_to_any(boost::asio::ip::tcp::socket& socket, const std::vector<std::string>& addresses,
                    unsigned short port);
// "10.0.0.5" of every network interface that is up, loopback left out.
std::vector<std::string> own_addresses();

// A socket that listens on loopback, at a port that was free; the caller closes it. Errors: kIo.
struct Listener {
  int socket = -1;
  std::uint16_t port = 0;
};
Listener listen_on_loopback();

}  // namespace gradwire
