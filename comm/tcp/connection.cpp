#include "comm/tcp/connection.h"

#include <array>
#include <span>
#include <utility>

#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include "core/error.h"
#include "core/hash.h"

namespace gradwire {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

// All that is left, in one system call if the socket takes it: Asio alone stops at 64 KiB.
std::size_t everything(const error_code& error, std::size_t) {
  constexpr std::size_t kMost = std::size_t{1} << 30;
  return error ? 0 : kMost;
}

std::uint64_t checksum_of(const std::byte* data, std::size_t bytes) {
  return bytes == 0 ? 0 : hash_of(std::span(data, bytes));
}

}  // namespace

TcpConnection::TcpConnection(asio::ip::tcp::socket socket) : socket_(std::move(socket)) {}

void TcpConnection::start(Place place, Arrived arrived, Ended ended) {
  place_ = std::move(place);
  arrived_ = std::move(arrived);
  ended_ = std::move(ended);
  read_header();
}

void TcpConnection::read_header() {
  asio::async_read(socket_, asio::buffer(&incoming_, sizeof incoming_), everything,
                   [self = shared_from_this()](const error_code& error, std::size_t) {
                     if (!self->is_open()) return;  // though the bytes may have come before
                     if (error) return self->end(error.message());
                     self->read_payload();
                   });
}

void TcpConnection::read_payload() {
  check(incoming_.magic == FrameHeader::kMagic, ErrorKind::kComm, "tcp: received no frame of ours");
  payload_ = place_(incoming_);
  if (incoming_.bytes == 0) return deliver();
  asio::async_read(socket_, asio::buffer(payload_, incoming_.bytes), everything,
                   [self = shared_from_this()](const error_code& error, std::size_t) {
                     if (!self->is_open()) return;
                     if (error) return self->end(error.message());
                     self->deliver();
                   });
}

void TcpConnection::deliver() {
  if (checksum_of(payload_, incoming_.bytes) != incoming_.checksum) {
    throw Error(ErrorKind::kComm,
                fmt::format("tcp: a message of {} bytes arrived damaged", incoming_.bytes));
  }
  arrived_(incoming_);
  if (is_open()) read_header();
}

void TcpConnection::send(FrameHeader header, const std::byte* payload, Sent sent) {
  if (!is_open()) return;
  header.checksum = checksum_of(payload, header.bytes);
  queue_.push_back({header, payload, std::move(sent)});
  if (queue_.size() == 1) write_next();
}

void TcpConnection::write_next() {
  const Outgoing& next = queue_.front();
  const std::array buffers{asio::buffer(&next.header, sizeof next.header),
                           asio::buffer(next.payload, next.header.bytes)};
  asio::async_write(socket_, buffers, everything,
                    [self = shared_from_this()](const error_code& error, std::size_t) {
                      if (!self->is_open()) return;
                      if (error) return self->end(error.message());
                      const Sent sent = std::move(self->queue_.front().sent);
                      self->queue_.pop_front();
                      if (!self->queue_.empty()) self->write_next();
                      if (sent) sent();
                    });
}

void TcpConnection::shut() {
  error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
}

void TcpConnection::close() {
  error_code ignored;
  socket_.close(ignored);
  queue_.clear();
}

void TcpConnection::end(const std::string& why) {
  close();
  ended_(why);
}

}  // namespace gradwire
