#include "comm/tcp/reception.h"

#include <chrono>
#include <exception>
#include <optional>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace gradwire {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

namespace {

// So many strangers at once cost descriptors; ranks beyond them wait, in the system's queue.
constexpr int kMostGreetings = 128;
constexpr auto kLookAgain = std::chrono::milliseconds(50);
// After an error of accept(), as if descriptors have run out, which would come again at once.
constexpr auto kBackOff = std::chrono::milliseconds(100);

awaitable<void> pause(asio::io_context& io, std::chrono::milliseconds time) {
  asio::steady_timer timer(io, time);
  co_await timer.async_wait(use_awaitable);
}

}  // namespace

void be_quick(Tcp::socket& socket) {
  error_code ignored;
  socket.set_option(Tcp::no_delay(true), ignored);
}

void Reception::open() {
  for (Tcp::acceptor& door : doors_)
    asio::co_spawn(io_, accept_at(door), asio::detached);
}

awaitable<void> Reception::accept_at(Tcp::acceptor& door) {
  for (;;) {
    while (greetings_ >= kMostGreetings)
      co_await pause(io_, kLookAgain);
    error_code error;
    Tcp::socket socket = co_await door.async_accept(asio::redirect_error(use_awaitable, error));
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      co_await pause(io_, kBackOff);
      continue;
    }
    be_quick(socket);
    ++greetings_;
    asio::co_spawn(io_, hear_out(std::make_shared<Tcp::socket>(std::move(socket))),
                   [this](const std::exception_ptr&) { --greetings_; });
  }
}

// What goes wrong with a guest before it is known as a rank is the guest's trouble.
awaitable<void> Reception::hear_out(std::shared_ptr<Tcp::socket> guest) {
  const std::optional<Guest> known = co_await greet(guest, options_);
  if (!known) co_return;
  const std::string why = admit_(*guest, *known);
  if (!why.empty()) co_await refuse(*guest, why);
}

}  // namespace gradwire
