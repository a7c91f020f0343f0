#include "comm/sockets.h"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>

#include <arpa/inet.h>
#include <boost/asio/io_context.hpp>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/error.h"

namespace gradwire {
namespace {

using Tcp = boost::asio::ip::tcp;

void set_option(Tcp::socket& socket, int level, int option, int value) {
  setsockopt(socket.native_handle(), level, option, &value, sizeof value);
}

}  // namespace

// Probes go out often all the same: a host that has been started anew answers them, with a reset.
void make_watchful(Tcp::socket& socket, std::chrono::milliseconds silence) {
  constexpr int kMostProbes = 127;  // of Linux; TCP_USER_TIMEOUT is what counts
  constexpr int kMostBetween = 10;  // seconds
  const auto ms = static_cast<int>(
      std::clamp<std::int64_t>(silence.count(), 1000, std::numeric_limits<int>::max()));
  const int between = std::clamp(ms / 10'000, 1, kMostBetween);
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, between);
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, between);
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT,
             std::clamp((ms + 999) / 1000 / between, 1, kMostProbes));
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, ms);
  set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
}

bool connect_to_any(Tcp::socket& socket, const std::vector<std::string>& addresses,
                    unsigned short port) {
  for (const std::string& address : addresses) {
    boost::system::error_code error;
    socket.close(error);
    socket.open(Tcp::v4(), error);
    set_option(socket, IPPROTO_TCP, TCP_SYNCNT, 1);  // three seconds for an address without answer
    socket.connect({boost::asio::ip::make_address(address), port}, error);
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

Listener listen_on_loopback() {
  try {
    boost::asio::io_context io;
    Tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
    const std::uint16_t port = acceptor.local_endpoint().port();
    return {acceptor.release(), port};
  } catch (const boost::system::system_error& e) {
    throw Error(ErrorKind::kIo, std::string("cannot listen on loopback: ") + e.what());
  }
}

}  // namespace gradwire
