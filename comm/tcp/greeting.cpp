#include "comm/tcp/greeting.h"

#include <utility>

#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

namespace {

template <class T>
auto buffer_of(T& value) {
  return asio::buffer(&value, sizeof value);
}

awaitable<Reply> answer_of(Tcp::socket& socket, const Destination& to, const TcpOptions& options,
                           std::uint32_t expected) {
  Reply answer;
  error_code error;
  co_await asio::async_read(socket, buffer_of(answer), asio::redirect_error(use_awaitable, error));
  if (error) {
    throw Error(ErrorKind::kComm,
                fmt::format("tcp: {} closed the connection during the handshake: {}", to.name,
                            error.message()));
  }
  if (answer.verdict == Reply::kRefused) {
    throw Error(ErrorKind::kComm, fmt::format("tcp: {} at {} turned rank {} away: {}", to.name,
                                              to.place, options.rank, to_string(answer.why)));
  }
  if (answer.verdict == expected) co_return answer;
  throw Error(ErrorKind::kComm,
              fmt::format("tcp: who listens at {} does not speak as {} would", to.place, to.name));
}

}  // namespace

// An error is the stranger's. Whoever knocks holds up nobody else.
awaitable<std::optional<Guest>> greet(std::shared_ptr<Tcp::socket> guest,
                                      const TcpOptions& options) {
  asio::steady_timer deadline(guest->get_executor(), options.greeting);
  deadline.async_wait([late = std::weak_ptr(guest)](const error_code& stopped) {
    const auto socket = late.lock();
    error_code ignored;
    if (socket && !stopped) socket->close(ignored);
  });
  Tcp::socket& socket = *guest;
  Hello hello;
  co_await asio::async_read(socket, buffer_of(hello.magic), use_awaitable);
  if (((hello.magic ^ Hello::kMagic) & Hello::kAnyVersion) != 0) co_return std::nullopt;
  if (hello.magic != Hello::kMagic) {
    co_await refuse(socket, "it is of another version of the program");
    co_return std::nullopt;
  }
  co_await asio::async_read(socket,
                            asio::buffer(reinterpret_cast<char*>(&hello) + sizeof hello.magic,
                                         sizeof hello - sizeof hello.magic),
                            use_awaitable);
  const Reply question{Reply::kProve, {}, make_nonce()};
  co_await asio::async_write(socket, buffer_of(question), use_awaitable);
  Digest proof{};
  co_await asio::async_read(socket, asio::buffer(proof), use_awaitable);
  std::string why = refusal(hello, options);
  if (!same_digest(proof, hello_proof(hello, question.digest, options))) {
    why = "it belongs to another job: its token is another";
  }
  if (!why.empty()) {
    co_await refuse(socket, why);
    co_return std::nullopt;
  }
  deadline.cancel();
  const Digest yes = welcome_proof(options.rank, hello, question.digest, options);
  co_return Guest{hello, Reply{Reply::kWelcome, {}, yes}};
}

awaitable<void> refuse(Tcp::socket& guest, std::string why) {
  const Reply no{Reply::kRefused, to_text<476>(why), {}};
  error_code ignored;
  co_await asio::async_write(guest, buffer_of(no), asio::redirect_error(use_awaitable, ignored));
}

awaitable<void> introduce(Tcp::socket& socket, Hello hello, Destination to,
                          const TcpOptions& options, std::string& doing) {
  co_await asio::async_write(socket, buffer_of(hello), use_awaitable);
  doing = "it answers nothing";
  const Reply question = co_await answer_of(socket, to, options, Reply::kProve);
  const Digest proof = hello_proof(hello, question.digest, options);
  co_await asio::async_write(socket, asio::buffer(proof), use_awaitable);
  const Reply welcome = co_await answer_of(socket, to, options, Reply::kWelcome);
  if (same_digest(welcome.digest, welcome_proof(to.rank, hello, question.digest, options)))
    co_return;
  throw Error(ErrorKind::kComm, fmt::format("tcp: who listens at {} is not {} of this job: it does "
                                            "not know the job's token",
                                            to.place, to.name));
}

}  // namespace gradwire
