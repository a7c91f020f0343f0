#include "comm/peer_link.h"

#include <istream>
#include <memory>
#include <utility>

#include <arpa/inet.h>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace gradwire {

namespace asio = boost::asio;

namespace {

using Tcp = asio::ip::tcp;

void set_option(Tcp::socket& socket, int level, int option, int value) {
  setsockopt(socket.native_handle(), level, option, &value, sizeof value);
}

}  // namespace

PeerLink::PeerLink(Tcp::socket socket, OnLine on_line, OnClosed on_closed)
    : socket_(std::move(socket)),
      received_(8192),
      on_line_(std::move(on_line)),
      on_closed_(std::move(on_closed)) {
  set_option(socket_, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket_, IPPROTO_TCP, TCP_KEEPIDLE, 4);
  set_option(socket_, IPPROTO_TCP, TCP_KEEPINTVL, 2);
  set_option(socket_, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(socket_, IPPROTO_TCP, TCP_USER_TIMEOUT, 10'000);
  set_option(socket_, IPPROTO_TCP, TCP_NODELAY, 1);
}

void PeerLink::read() {
  asio::async_read_until(
      socket_, received_, '\n',
      [self = shared_from_this()](const boost::system::error_code& error, std::size_t) {
        if (error == asio::error::operation_aborted) return;
        if (error) return self->on_closed_(*self);
        std::istream in(&self->received_);
        std::string line;
        std::getline(in, line);
        self->on_line_(*self, line);
        if (self->socket_.is_open()) self->read();
      });
}

void PeerLink::write(const std::string& line) {
  boost::system::error_code ignored;
  asio::write(socket_, asio::buffer(line + "\n"), ignored);
}

void PeerLink::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

bool connect_to_any(Tcp::socket& socket, const std::vector<std::string>& addresses,
                    unsigned short port) {
  for (const std::string& address : addresses) {
    boost::system::error_code error;
    socket.close(error);
    socket.open(Tcp::v4(), error);
    set_option(socket, IPPROTO_TCP, TCP_SYNCNT, 1);  // three seconds for an address without answer
    socket.connect({asio::ip::make_address(address), port}, error);
    if (!error) return true;
  }
  return false;
}

std::vector<std::string> own_addresses() {
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return {};
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(all, freeifaddrs);
  std::vector<std::string> addresses;
  for (const ifaddrs* i = all; i != nullptr; i = i->ifa_next) {
    const bool usable = i->ifa_addr != nullptr && i->ifa_addr->sa_family == AF_INET &&
                        (i->ifa_flags & IFF_UP) != 0 && (i->ifa_flags & IFF_LOOPBACK) == 0;
    if (!usable) continue;
    char text[INET_ADDRSTRLEN] = "";
    const auto* address = reinterpret_cast<const sockaddr_in*>(i->ifa_addr);
    if (inet_ntop(AF_INET, &address->sin_addr, text, sizeof text) != nullptr) {
      addresses.emplace_back(text);
    }
  }
  return addresses;
}

}  // namespace gradwire
