#include "comm/sockets.h"

#include <boost/asio/io_context.hpp>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

namespace gradwire {
namespace {

using namespace std::chrono_literals;

int option_of(boost::asio::ip::tcp::socket& socket, int level, int option) {
  int value = -1;
  socklen_t bytes = sizeof value;
  EXPECT_EQ(getsockopt(socket.native_handle(), level, option, &value, &bytes), 0);
  return value;
}

TEST(Sockets, SilenceOfAHostIsBoundedByTheTimeGiven) {
  boost::asio::io_context io;
  for (const std::chrono::milliseconds silence :
       {1000ms, 2500ms, 60'000ms, 300'000ms, 86'400'000ms}) {
    boost::asio::ip::tcp::socket socket(io, boost::asio::ip::tcp::v4());
    make_watchful(socket, silence);
    EXPECT_EQ(option_of(socket, SOL_SOCKET, SO_KEEPALIVE), 1);
    EXPECT_EQ(option_of(socket, IPPROTO_TCP, TCP_NODELAY), 1);
    EXPECT_EQ(option_of(socket, IPPROTO_TCP, TCP_USER_TIMEOUT), silence.count());
    // Neither gives up before that, nor is a host that answers with a reset found late.
    const int idle = option_of(socket, IPPROTO_TCP, TCP_KEEPIDLE);
    const int between = option_of(socket, IPPROTO_TCP, TCP_KEEPINTVL);
    const int probes = option_of(socket, IPPROTO_TCP, TCP_KEEPCNT);
    EXPECT_LE(idle, 10);
    EXPECT_LE(between, 10);
    EXPECT_TRUE(1000 * (idle + between * probes) >= silence.count() || probes == 127);
  }
}

TEST(Sockets, ShortTimesAreASecond) {
  boost::asio::io_context io;
  boost::asio::ip::tcp::socket socket(io, boost::asio::ip::tcp::v4());
  make_watchful(socket, 20ms);
  EXPECT_EQ(option_of(socket, IPPROTO_TCP, TCP_USER_TIMEOUT), 1000);
}

}  // namespace
}  // namespace gradwire
