#include "comm/tcp/meeting_link.h"

#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "core/hash.h"

namespace gradwire {

namespace asio = boost::asio;
using asio::use_awaitable;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

namespace {

// Until the rest of a header has come.
constexpr std::chrono::milliseconds kRest(1);

}  // namespace

MeetingLink::MeetingLink(Tcp::socket socket, std::size_t most_bytes)
    : socket_(std::move(socket)), most_bytes_(most_bytes) {}

void MeetingLink::start(Heard heard, Ended ended) {
  heard_ = std::move(heard);
  ended_ = std::move(ended);
  asio::co_spawn(
      socket_.get_executor(),
      [](std::shared_ptr<MeetingLink> self) -> asio::awaitable<void> {
        co_await self->read_all();
      }(shared_from_this()),
      asio::detached);
}

asio::awaitable<void> MeetingLink::read_all() {
  for (;;) {
    error_code error;
    co_await socket_.async_wait(Tcp::socket::wait_read, asio::redirect_error(use_awaitable, error));
    if (over_ || !reads_) co_return;
    FrameHeader header;
    std::size_t there = 0;
    if (!error) {
      there =
          socket_.receive(asio::buffer(&header, sizeof header), Tcp::socket::message_peek, error);
    }
    if (error) co_return end();
    if (there < sizeof header) {
      asio::steady_timer timer(socket_.get_executor(), kRest);
      co_await timer.async_wait(use_awaitable);
      continue;
    }
    if (header.magic != FrameHeader::kMagic || header.bytes > most_bytes_) co_return end();
    std::string payload(header.bytes, '\0');
    co_await asio::async_read(socket_, asio::buffer(&header, sizeof header),
                              asio::redirect_error(use_awaitable, error));
    if (!error)
      co_await asio::async_read(socket_, asio::buffer(payload),
                                asio::redirect_error(use_awaitable, error));
    if (over_) co_return;
    if (error) co_return end();
    heard_at = Clock::now();
    heard_(header.type, std::move(payload));
    if (over_ || !reads_) co_return;
  }
}

void MeetingLink::send(FrameType type, const std::string& payload) {
  FrameHeader header;
  header.type = type;
  header.bytes = payload.size();
  header.checksum = payload.empty() ? 0 : hash_of(payload);
  send_bytes(std::string(reinterpret_cast<const char*>(&header), sizeof header) + payload);
}

void MeetingLink::send_bytes(std::string bytes) {
  if (over_) return;
  queue_.push_back(std::move(bytes));
  if (queue_.size() == 1) write_next();
}

void MeetingLink::write_next() {
  asio::async_write(socket_, asio::buffer(queue_.front()),
                    [self = shared_from_this()](const error_code& error, std::size_t) {
                      if (self->over_) return;
                      if (error) return self->queue_.clear();  // the reader will see the end
                      self->queue_.pop_front();
                      if (!self->queue_.empty()) self->write_next();
                    });
}

void MeetingLink::close() {
  over_ = true;
  error_code ignored;
  socket_.close(ignored);
}

Tcp::socket MeetingLink::release() {
  over_ = true;
  return std::move(socket_);
}

void MeetingLink::end() {
  if (over_) return;
  close();
  ended_();
}

}  // namespace gradwire
