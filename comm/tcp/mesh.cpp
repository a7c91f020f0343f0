#include "comm/tcp/mesh.h"

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/tcp/hello.h"
#include "core/error.h"
#include "core/host_name.h"

namespace gradwire {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using boost::system::error_code;
using Tcp = asio::ip::tcp;

constexpr auto kRetryEvery = std::chrono::milliseconds(50);
// Rank 0 gives up first, so that the others hear from it who is missing.
constexpr auto kPatience = std::chrono::seconds(3);

// So many strangers at once cost descriptors; ranks beyond them wait, in the system's queue.
constexpr int kMostGreetings = 128;
// After an error of accept(), as if descriptors have run out, which would come again at once.
constexpr auto kBackOff = std::chrono::milliseconds(100);

template <class T>
auto buffer_of(T& value) {
  return asio::buffer(&value, sizeof value);
}

bool is_local(const std::string& address) {
  error_code not_numeric;
  const auto numeric = asio::ip::make_address(address, not_numeric);
  return address == "localhost" || (!not_numeric && numeric.is_loopback());
}

class Meeting {
 public:
  explicit Meeting(const TcpOptions& options)
      : options_(options),
        contacts_(static_cast<std::size_t>(options.size)),
        welcomes_(options.rank == 0 ? static_cast<std::size_t>(options.size) : 0),
        links_(empty_links(io_, options)),
        missing_((options.size - 1) * (options.connections + 1)) {}

  void run() {
    if (missing_ == 0) return;
    if (options_.rank == 0) {
      listen_for_all();
      spawn(accept_all());
      io_.run_for(options_.timeout);
    } else {
      spawn(join());
      io_.run_for(options_.timeout + kPatience);
    }
    if (missing_ > 0) give_up();
  }

  // The connections, moved to another context.
  std::vector<TcpLink> take(asio::io_context& io) {
    std::vector<TcpLink> taken = empty_links(io, options_);
    for (std::size_t r = 0; r < links_.size(); ++r) {
      if (r == static_cast<std::size_t>(options_.rank)) continue;
      taken[r].host = links_[r].host;
      for (int channel = Hello::kControl; channel < options_.connections; ++channel) {
        Tcp::socket& from = place_of(links_[r], channel);
        const auto protocol = from.local_endpoint().protocol();
        place_of(taken[r], channel).assign(protocol, from.release());
      }
    }
    return taken;
  }

 private:
  static std::vector<TcpLink> empty_links(asio::io_context& io, const TcpOptions& options) {
    std::vector<TcpLink> links;
    for (int r = 0; r < options.size; ++r) {
      TcpLink& link = links.emplace_back(TcpLink{"", Tcp::socket(io), {}});
      for (int i = 0; i < options.connections; ++i)
        link.data.emplace_back(io);
    }
    return links;
  }

  void spawn(awaitable<void> work) {
    asio::co_spawn(io_, std::move(work), [this](const std::exception_ptr& failure) {
      if (!failure || failure_ || missing_ == 0) return;
      failure_ = failure;
      io_.stop();
    });
  }

  std::string where() const {
    return fmt::format("{}:{}", fmt::join(options_.addresses, ","), options_.port);
  }

  void listen_for_all() {
    error_code error;
    if (options_.listener >= 0) {
      listener_.assign(Tcp::v4(), options_.listener, error);
    } else {
      listen(address_to_listen_at(), options_.port, error);
    }
    if (!error) return;
    throw Error(ErrorKind::kComm,
                fmt::format("tcp: rank 0 cannot listen at {}: {}", where(), error.message()));
  }
  // A name may mean another interface here than it does to the others.
  asio::ip::address address_to_listen_at() const {
    if (std::ranges::all_of(options_.addresses, is_local)) return asio::ip::address_v4::loopback();
    error_code not_numeric;
    const auto one = asio::ip::make_address(options_.addresses.front(), not_numeric);
    const bool sure = options_.addresses.size() == 1 && !not_numeric;
    return sure ? one : asio::ip::address(asio::ip::address_v4::any());
  }
  void listen(const asio::ip::address& address, std::uint16_t port, error_code& error) {
    const Tcp::endpoint endpoint(address, port);
    listener_.open(endpoint.protocol(), error);
    if (!error) listener_.set_option(Tcp::acceptor::reuse_address(true), error);
    if (!error) listener_.bind(endpoint, error);
    if (!error) listener_.listen(Tcp::acceptor::max_listen_connections, error);
  }

  awaitable<void> accept_all() {
    for (;;) {
      while (greetings_ >= kMostGreetings)
        co_await pause(kRetryEvery);
      error_code error;
      Tcp::socket socket =
          co_await listener_.async_accept(asio::redirect_error(use_awaitable, error));
      if (error == asio::error::operation_aborted) co_return;
      if (error) {
        co_await pause(kBackOff);
        continue;
      }
      ++greetings_;
      asio::co_spawn(io_, greet(std::make_shared<Tcp::socket>(std::move(socket))),
                     [this](const std::exception_ptr&) { --greetings_; });
    }
  }
  awaitable<void> pause(std::chrono::milliseconds time) {
    asio::steady_timer timer(io_, time);
    co_await timer.async_wait(use_awaitable);
  }

  // Whoever knocks says who it is and proves it, within a time of its own; strangers never hold up
  // the others. An error is the stranger's.
  awaitable<void> greet(std::shared_ptr<Tcp::socket> guest) {
    asio::steady_timer deadline(io_, options_.greeting);
    deadline.async_wait([late = std::weak_ptr(guest)](const error_code& stopped) {
      const auto socket = late.lock();
      error_code ignored;
      if (socket && !stopped) socket->close(ignored);
    });
    Tcp::socket& socket = *guest;
    Hello hello;
    co_await asio::async_read(socket, buffer_of(hello.magic), use_awaitable);
    if (((hello.magic ^ Hello::kMagic) & Hello::kAnyVersion) != 0) co_return;
    if (hello.magic != Hello::kMagic) {
      co_return co_await refuse(socket, "it is of another version of the program");
    }
    co_await asio::async_read(socket,
                              asio::buffer(reinterpret_cast<char*>(&hello) + sizeof hello.magic,
                                           sizeof hello - sizeof hello.magic),
                              use_awaitable);
    const Reply question{Reply::kProve, {}, make_nonce()};
    co_await asio::async_write(socket, buffer_of(question), use_awaitable);
    Digest proof{};
    co_await asio::async_read(socket, asio::buffer(proof), use_awaitable);
    std::string why = refusal(hello, options_);
    if (!same_digest(proof, hello_proof(hello, question.digest, options_))) {
      why = "it belongs to another job: its token is another";
    }
    if (!why.empty()) co_return co_await refuse(socket, why);
    deadline.cancel();
    spawn(admit(std::move(socket), hello, question.digest));
  }

  // A rank of this job; from here on an error ends the meeting.
  awaitable<void> admit(Tcp::socket socket, const Hello hello, const Digest nonce) {
    const auto from = static_cast<std::size_t>(hello.rank);
    Tcp::socket& place = place_of(links_[from], hello.channel);
    if (place.is_open()) {
      const std::string twice = fmt::format("there is a rank {} already", hello.rank);
      co_return co_await refuse(socket, twice);
    }
    const Reply yes{Reply::kWelcome, {}, welcome_proof(options_.rank, hello, nonce, options_)};
    links_[from].host = to_string(hello.host);
    contacts_[from] = {to_text<48>(socket.remote_endpoint().address().to_string()), hello.host,
                       hello.port};
    place = std::move(socket);
    const bool waits_for_table = options_.rank == 0 && hello.channel == Hello::kControl;
    if (waits_for_table) {
      welcomes_[from] = yes;
      if (++arrived_ == options_.size - 1) co_await send_table();
    } else {
      co_await asio::async_write(place, buffer_of(yes), use_awaitable);
    }
    count_one();
  }

  awaitable<void> refuse(Tcp::socket& socket, const std::string why) {
    const Reply no{Reply::kRefused, to_text<476>(why), {}};
    error_code ignored;
    co_await asio::async_write(socket, buffer_of(no), asio::redirect_error(use_awaitable, ignored));
  }
  awaitable<void> send_table() {
    contacts_[0].host = to_text<68>(host_name());
    for (std::size_t r = 1; r < links_.size(); ++r) {
      co_await asio::async_write(links_[r].control, buffer_of(welcomes_[r]), use_awaitable);
      co_await asio::async_write(links_[r].control, asio::buffer(contacts_), use_awaitable);
    }
  }

  awaitable<void> join() {
    Tcp::socket first = co_await connect_to_rank_0();
    error_code error;
    listen(first.local_endpoint().address(), 0, error);
    if (error) throw Error(ErrorKind::kComm, "tcp: cannot listen: " + error.message());
    co_await introduce(first, Hello::kControl, 0, "rank 0");
    co_await asio::async_read(first, asio::buffer(contacts_), use_awaitable);
    // Of rank 0 it is known where it listens.
    contacts_[0].address = to_text<48>(first.remote_endpoint().address().to_string());
    contacts_[0].port = first.remote_endpoint().port();
    links_[0].control = std::move(first);
    count_one();
    spawn(accept_all());
    for (int peer = 0; peer < options_.rank; ++peer)
      co_await connect_all(peer);
  }

  awaitable<void> connect_all(int peer) {
    const Contact& contact = contacts_[static_cast<std::size_t>(peer)];
    TcpLink& link = links_[static_cast<std::size_t>(peer)];
    link.host = to_string(contact.host);
    const Tcp::endpoint endpoint(asio::ip::make_address(to_string(contact.address)),
                                 static_cast<std::uint16_t>(contact.port));
    const std::string name = fmt::format("rank {} on host {}", peer, link.host);
    for (int channel = peer == 0 ? 0 : Hello::kControl; channel < options_.connections; ++channel) {
      Tcp::socket& socket = place_of(link, channel);
      error_code error;
      co_await socket.async_connect(endpoint, asio::redirect_error(use_awaitable, error));
      if (error) {
        throw Error(ErrorKind::kComm,
                    fmt::format("tcp: {} cannot be reached at {}:{}: {}", name,
                                to_string(contact.address), contact.port, error.message()));
      }
      co_await introduce(socket, channel, peer, name);
      count_one();
    }
  }

  // Rank 0 may start later than this one.
  awaitable<Tcp::socket> connect_to_rank_0() {
    for (;;) {
      for (const std::string& address : options_.addresses) {
        error_code error;
        Tcp::resolver resolver(io_);
        const auto found = co_await resolver.async_resolve(
            address, std::to_string(options_.port), asio::redirect_error(use_awaitable, error));
        Tcp::socket socket(io_);
        if (!error) {
          co_await asio::async_connect(socket, found, asio::redirect_error(use_awaitable, error));
        }
        if (!error) co_return socket;
        last_trouble_ = error.message();
      }
      asio::steady_timer timer(io_, kRetryEvery);
      co_await timer.async_wait(use_awaitable);
    }
  }

  awaitable<void> introduce(Tcp::socket& socket, int channel, int peer, const std::string to) {
    Hello hello = make_hello(options_);
    hello.channel = channel;
    hello.port = listener_.local_endpoint().port();
    co_await asio::async_write(socket, buffer_of(hello), use_awaitable);
    last_trouble_ = "it answers nothing";
    const Reply question = co_await answer_of(socket, to, Reply::kProve);
    const Digest proof = hello_proof(hello, question.digest, options_);
    co_await asio::async_write(socket, asio::buffer(proof), use_awaitable);
    last_trouble_ = "it has not heard from all ranks";
    const Reply welcome = co_await answer_of(socket, to, Reply::kWelcome);
    if (same_digest(welcome.digest, welcome_proof(peer, hello, question.digest, options_)))
      co_return;
    throw Error(ErrorKind::kComm,
                fmt::format("tcp: who listens at {} is not {} of this job: it does not know the "
                            "job's token",
                            where(), to));
  }
  awaitable<Reply> answer_of(Tcp::socket& socket, const std::string to, std::uint32_t expected) {
    Reply answer;
    error_code error;
    co_await asio::async_read(socket, buffer_of(answer),
                              asio::redirect_error(use_awaitable, error));
    if (error) {
      throw Error(ErrorKind::kComm,
                  fmt::format("tcp: {} turned away without a word: {}", to, error.message()));
    }
    if (answer.verdict == Reply::kRefused) {
      throw Error(ErrorKind::kComm, fmt::format("tcp: {} at {} turned rank {} away: {}", to,
                                                where(), options_.rank, to_string(answer.why)));
    }
    if (answer.verdict == expected) co_return answer;
    throw Error(ErrorKind::kComm,
                fmt::format("tcp: who listens at {} does not speak as {} would", where(), to));
  }

  static Tcp::socket& place_of(TcpLink& link, int channel) {
    return channel == Hello::kControl ? link.control : link.data[static_cast<std::size_t>(channel)];
  }

  void count_one() {
    if (--missing_ == 0) io_.stop();
  }

  // It has failed, or time is up: then who came as far as rank 0 is told who did not.
  [[noreturn]] void give_up() {
    if (failure_) {
      try {
        std::rethrow_exception(failure_);
      } catch (const boost::system::system_error& e) {
        throw Error(ErrorKind::kComm, fmt::format("tcp: {}", e.what()));
      }
    }
    std::string why;
    if (options_.rank == 0) {
      std::vector<int> absent;
      for (int r = 1; r < options_.size; ++r) {
        if (!links_[static_cast<std::size_t>(r)].control.is_open()) absent.push_back(r);
      }
      why = absent.empty()
                ? fmt::format("not all of {} ranks could connect to each other", options_.size)
                : fmt::format("{} of {} ranks came to {}; missing: rank {}", arrived_ + 1,
                              options_.size, where(), fmt::join(absent, ", "));
      const Reply no{Reply::kRefused, to_text<476>(why), {}};
      for (TcpLink& link : links_) {
        error_code ignored;
        if (link.control.is_open()) asio::write(link.control, buffer_of(no), ignored);
      }
    } else {
      why = fmt::format("no way to rank 0 at {}: {}", where(), last_trouble_);
    }
    throw Error(ErrorKind::kComm, fmt::format("tcp: rank {} waited {} ms: {}", options_.rank,
                                              options_.timeout.count(), why));
  }

  asio::io_context io_;  // its own: strangers and their half-said words go with it
  const TcpOptions& options_;
  Tcp::acceptor listener_{io_};
  std::vector<Contact> contacts_;  // by rank
  std::vector<Reply> welcomes_;    // by rank, at rank 0: said once all are there
  std::vector<TcpLink> links_;     // by rank
  int arrived_ = 0;                // ranks, at rank 0
  int greetings_ = 0;              // of those who have not proved yet who they are
  int missing_;                    // connections
  std::string last_trouble_ = "no answer";
  std::exception_ptr failure_;
};

}  // namespace

std::vector<TcpLink> meet(asio::io_context& io, const TcpOptions& options) {
  Meeting meeting(options);
  meeting.run();
  return meeting.take(io);
}

}  // namespace gradwire
