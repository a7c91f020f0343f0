// What strangers and ranks send over TCP: greetings, frames while ranks meet, frames of messages.
// The first byte chooses which.
#include <memory>
#include <vector>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <sys/socket.h>

#include "comm/tcp/connection.h"
#include "comm/tcp/greeting.h"
#include "comm/tcp/inbox.h"
#include "comm/tcp/meeting_link.h"
#include "core/printable.h"
#include "tests/fuzz/harness.h"

namespace {

namespace asio = boost::asio;
using Tcp = asio::ip::tcp;
using namespace gradwire;

constexpr std::size_t kMostBytes = 4096;  // of a payload, as the engine bounds it

// A socket at whose other end these bytes have been sent, and nothing follows.
Tcp::socket heard(asio::io_context& io, std::string_view bytes) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) std::abort();
  const int room = 1 << 20;
  ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  (void)!::send(ends[1], bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::shutdown(ends[1], SHUT_WR);
  ::close(ends[1]);
  Tcp::socket socket(io);
  socket.assign(Tcp::v4(), ends[0]);
  return socket;
}

void greeting(asio::io_context& io, std::string_view bytes) {
  TcpOptions options;
  options.size = 4;
  auto guest = std::make_shared<Tcp::socket>(heard(io, bytes));
  bool came = false;
  asio::co_spawn(io, greet(guest, options),
                 [&](const std::exception_ptr&, const std::optional<Guest>& g) { came = !!g; });
  io.run();
  if (came) std::abort();  // without the token
}

void meeting(asio::io_context& io, std::string_view bytes) {
  const auto link = std::make_shared<MeetingLink>(heard(io, bytes), kMostBytes);
  link->start(
      [](FrameType, const std::string& text) {
        if (text.size() > kMostBytes || !is_printable_word(printable_line(text))) std::abort();
      },
      [] {});
  io.run();
}

void messages(asio::io_context& io, std::string_view bytes) {
  Inbox inbox;
  const auto connection = std::make_shared<TcpConnection>(heard(io, bytes));
  connection->start(
      [&](const FrameHeader& header) {
        if (header.bytes > kMostBytes) throw Error(ErrorKind::kComm, "too long");
        return inbox.begin(header);
      },
      [&](const FrameHeader& header) { inbox.finish(header); }, [](const std::string&) {});
  io.run();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return fuzz::run(data, size, [](std::string_view bytes) {
    if (bytes.empty()) return;
    asio::io_context io;
    const std::string_view rest = bytes.substr(1);
    switch (bytes[0] % 3) {
      case 0: return greeting(io, rest);
      case 1: return meeting(io, rest);
      default: return messages(io, rest);
    }
  });
}
