#include "comm/watch/peer_link.h"

#include <istream>
#include <utility>

#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include "comm/sockets.h"

namespace gradwire {

namespace asio = boost::asio;

PeerLink::PeerLink(asio::ip::tcp::socket socket, std::chrono::milliseconds silence, OnLine on_line,
                   OnClosed on_closed)
    : socket_(std::move(socket)),
      received_(8192),
      on_line_(std::move(on_line)),
      on_closed_(std::move(on_closed)) {
  make_watchful(socket_, silence);
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

}  // namespace gradwire
