#include "comm/tcp/mesh.h"

#include <array>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/connect.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/format.h>

#include "comm/tcp/doors.h"
#include "comm/tcp/frame.h"
#include "comm/tcp/greeting.h"
#include "comm/tcp/hello.h"
#include "comm/tcp/reception.h"
#include "comm/tcp/roll.h"
#include "comm/watch/own_sleep.h"
#include "core/error.h"
#include "core/hash.h"

namespace gradwire {
namespace {

namespace asio = boost::asio;
using asio::awaitable;
using asio::use_awaitable;
using boost::system::error_code;
using Tcp = asio::ip::tcp;
using Clock = MeetingLink::Clock;

constexpr auto kRetryEvery = std::chrono::milliseconds(50);
// Rank 0 gives up first, so that the others hear from it who is missing.
constexpr auto kPatience = std::chrono::seconds(3);
// For the last words of rank 0 to leave; and for ranks that come just now to hear that the job has
// been asked to stop.
constexpr auto kLastWords = std::chrono::seconds(1);
constexpr auto kLatecomers = std::chrono::seconds(2);

std::string text_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const boost::system::system_error& e) {
    return fmt::format("tcp: {}", e.what());
  } catch (const std::exception& e) {
    return e.what();
  }
}

class Meeting {
 public:
  explicit Meeting(const TcpOptions& options)
      : options_(options),
        links_(empty_links(io_, options)),
        missing_((options.size - 1) * (options.connections + 1)),
        deadline_(Clock::now() + options.timeout + kPatience) {}

  void run() {
    if (options_.size == 1) return;
    const OnMeetingEnd on_end = [this](const MeetingEnd& how) { end(how); };
    if (options_.rank == 0) {
      missing_ -= options_.size - 1;  // the roll counts those for control
      roll_.emplace(options_, on_end);
      for (Tcp::acceptor& door : open_doors(io_, options_))
        reception_.add(std::move(door));
      reception_.open();
    } else {
      spawn(join());
    }
    asio::co_spawn(io_, tick(), asio::detached);
    io_.run();
    if (ended_->how == MeetingEnd::kStopped) throw MeetingStopped();
    if (ended_->how == MeetingEnd::kFailed) throw Error(ErrorKind::kComm, ended_->why);
  }

  // The connections, moved to another context.
  std::vector<TcpLink> take(asio::io_context& io) {
    std::vector<TcpLink> taken = empty_links(io, options_);
    for (int r = 0; r < options_.size; ++r) {
      if (r == options_.rank) continue;
      const auto at = static_cast<std::size_t>(r);
      if (roll_) links_[at].control = roll_->release(r);
      if (seat_ && r == 0) links_[at].control = seat_->release();
      taken[at].host = links_[at].host;
      for (int channel = Hello::kControl; channel < options_.connections; ++channel) {
        Tcp::socket& from = place_of(links_[at], channel);
        const auto protocol = from.local_endpoint().protocol();
        place_of(taken[at], channel).assign(protocol, from.release());
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
  static Tcp::socket& place_of(TcpLink& link, int channel) {
    return channel == Hello::kControl ? link.control : link.data[static_cast<std::size_t>(channel)];
  }
  TcpLink& link(int rank) { return links_[static_cast<std::size_t>(rank)]; }

  // What it fails with is everybody's trouble.
  void spawn(awaitable<void> work) {
    asio::co_spawn(io_, std::move(work), [this](const std::exception_ptr& failure) {
      if (!failure || ended_) return;
      const std::string why = text_of(failure);
      if (roll_) return roll_->fail(why);
      if (seat_) return seat_->fail(why);
      end({MeetingEnd::kFailed, why});
    });
  }
  awaitable<void> pause(std::chrono::milliseconds time) {
    asio::steady_timer timer(io_, time);
    co_await timer.async_wait(use_awaitable);
  }

  // How it ends.

  void end(const MeetingEnd& how) {
    if (ended_) return;
    ended_ = how;
    asio::co_spawn(io_, leave(), asio::detached);
  }
  awaitable<void> leave() {
    const bool stopped = ended_->how == MeetingEnd::kStopped;
    const Clock::time_point latest = Clock::now() + (stopped ? kLatecomers : kLastWords);
    while (Clock::now() < latest && words_are_left())
      co_await pause(std::chrono::milliseconds(1));
    io_.stop();
  }
  bool words_are_left() const {
    if (seat_) return !seat_->flushed();
    const bool stopped = ended_->how == MeetingEnd::kStopped;
    return roll_ && (!roll_->flushed() || (stopped && roll_->awaits_more()));
  }

  awaitable<void> tick() {
    OwnSleep own_sleep;
    while (!ended_) {
      const Clock::time_point now = Clock::now();
      const auto slept = own_sleep.look(now);
      if (roll_) {
        roll_->tick(now, slept);
      } else if (seat_) {
        seat_->tick(now, slept);
      } else {
        look_for_rank_0(now, slept);
      }
      co_await pause(kMeetingTick);
    }
  }
  void look_for_rank_0(Clock::time_point now, Clock::duration slept) {
    deadline_ += slept;
    if (options_.hooks.stop()) return end({MeetingEnd::kStopped, ""});
    const std::string trouble =
        fmt::format("no way to rank 0 at {}: {}", where_ranks_meet(options_), trouble_);
    if (now > deadline_) {
      const std::string waited =
          fmt::format("tcp: rank {} waited {} ms: ", options_.rank, options_.timeout.count());
      return end({MeetingEnd::kFailed, waited + trouble});
    }
    if (now - begin_ >= kMeetingLong && !std::exchange(said_trouble_, true)) {
      options_.hooks.tell(trouble);
    }
  }

  // Who comes.

  std::string admit(Tcp::socket& guest, const Guest& known) {
    const Hello& hello = known.hello;
    if (roll_ && hello.channel == Hello::kControl) {
      std::string why = roll_->objection(hello.rank);
      if (!why.empty()) return why;
      roll_->enter(known, std::move(guest));
    } else {
      Tcp::socket& place = place_of(link(hello.rank), hello.channel);
      if (place.is_open()) return fmt::format("rank {} is here already", hello.rank);
      place = std::move(guest);
      spawn(welcome(place, known));
    }
    link(hello.rank).host = to_string(hello.host);
    return "";
  }
  awaitable<void> welcome(Tcp::socket& place, const Guest guest) {
    co_await asio::async_write(place, asio::buffer(&guest.welcome, sizeof guest.welcome),
                               use_awaitable);
    const int rank = guest.hello.rank;
    const bool wants_table =
        guest.hello.channel == Hello::kControl && parent_of(rank) == options_.rank;
    if (!wants_table) co_return count_one();
    if (table_.empty()) co_return children_.push_back(rank);
    co_await pass_table(rank);
  }
  awaitable<void> pass_table(int child) {
    FrameHeader header;
    header.type = FrameType::kTable;
    header.bytes = table_.size();
    header.checksum = hash_of(table_);
    const std::array<asio::const_buffer, 2> buffers{asio::buffer(&header, sizeof header),
                                                    asio::buffer(table_)};
    co_await asio::async_write(link(child).control, buffers, use_awaitable);
    count_one();
  }

  // Where this rank goes.

  awaitable<void> join() {
    Tcp::socket first = co_await connect_to_rank_0();
    const auto here = first.local_endpoint().address();
    reception_.add(listen_at(io_, {here, 0}, fmt::format("rank {} cannot listen", options_.rank)));
    const Destination rank_0{0, "rank 0", where_ranks_meet(options_)};
    co_await introduce(first, hello_on(Hello::kControl), rank_0, options_, trouble_);
    rank_0_ = first.remote_endpoint();
    seat_.emplace(std::move(first), options_,
                  Seat::Events{[this](const Contact& c) { spawn(fetch_table(c)); },
                               [this](const std::string& t) { take_table(t); },
                               [this](const MeetingEnd& how) { end(how); }});
    count_one();
    reception_.open();
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
        if (!error) {
          be_quick(socket);
          co_return socket;
        }
        trouble_ = error.message();
      }
      co_await pause(kRetryEvery);
    }
  }
  Hello hello_on(int channel) const {
    Hello hello = make_hello(options_);
    hello.channel = channel;
    hello.port = reception_.port();
    return hello;
  }

  awaitable<void> fetch_table(const Contact parent) {
    const int rank = parent_of(options_.rank);
    co_await connect(rank, Hello::kControl, parent);
    FrameHeader header;
    Tcp::socket& socket = link(rank).control;
    co_await asio::async_read(socket, asio::buffer(&header, sizeof header), use_awaitable);
    std::string table(sizeof(Contact) * links_.size(), '\0');
    const bool sound = header.magic == FrameHeader::kMagic && header.type == FrameType::kTable &&
                       header.bytes == table.size();
    check(sound, ErrorKind::kComm, "tcp: what came is not the table of the ranks");
    co_await asio::async_read(socket, asio::buffer(table), use_awaitable);
    take_table(table);
  }
  void take_table(const std::string& table) {
    std::vector<Contact> contacts(links_.size());
    check(table.size() == sizeof(Contact) * contacts.size(), ErrorKind::kComm,
          "tcp: what came is not the table of the ranks");
    std::memcpy(contacts.data(), table.data(), table.size());
    // Of rank 0 it is known where it listens.
    contacts[0].address = to_text<48>(rank_0_.address().to_string());
    contacts[0].port = rank_0_.port();
    table_ = table;
    for (const int child : std::exchange(children_, {}))
      spawn(pass_table(child));
    spawn(connect_to_all(std::move(contacts)));
  }
  awaitable<void> connect_to_all(std::vector<Contact> contacts) {
    for (int peer = 0; peer < options_.rank; ++peer) {
      const bool has_control = peer == 0 || link(peer).control.is_open();
      const Contact& contact = contacts[static_cast<std::size_t>(peer)];
      link(peer).host = to_string(contact.host);
      for (int channel = has_control ? 0 : Hello::kControl; channel < options_.connections;
           ++channel)
        co_await connect(peer, channel, contact);
    }
  }
  awaitable<void> connect(int peer, int channel, const Contact contact) {
    const std::string host = to_string(contact.host), address = to_string(contact.address);
    const Destination to{peer, fmt::format("rank {} on host {}", peer, host),
                         fmt::format("{}:{}", address, contact.port)};
    Tcp::socket& socket = place_of(link(peer), channel);
    const Tcp::endpoint endpoint(asio::ip::make_address(address),
                                 static_cast<std::uint16_t>(contact.port));
    error_code error;
    co_await socket.async_connect(endpoint, asio::redirect_error(use_awaitable, error));
    if (error) {
      throw Error(ErrorKind::kComm, fmt::format("tcp: {} cannot be reached at {}: {}", to.name,
                                                to.place, error.message()));
    }
    be_quick(socket);
    co_await introduce(socket, hello_on(channel), to, options_, trouble_);
    count_one();
  }

  void count_one() {
    if (--missing_ > 0) return;
    if (roll_) return roll_->ready();
    seat_->ready();
  }

  asio::io_context io_;  // its own: strangers and their half-said words go with it
  const TcpOptions& options_;
  Reception reception_{io_, options_, [this](Tcp::socket& guest, const Guest& known) {
                         return admit(guest, known);
                       }};
  std::vector<TcpLink> links_;  // by rank; while ranks meet, those of roll and seat are theirs
  std::optional<Roll> roll_;    // on rank 0
  std::optional<Seat> seat_;    // elsewhere, once rank 0 is found
  std::optional<MeetingEnd> ended_;
  Tcp::endpoint rank_0_;
  std::string table_;          // all contacts, as they came
  std::vector<int> children_;  // who waits for it
  int missing_;                // connections
  std::string trouble_ = "no answer";
  bool said_trouble_ = false;
  const Clock::time_point begin_ = Clock::now();
  Clock::time_point deadline_;
};

}  // namespace

std::vector<TcpLink> meet(asio::io_context& io, const TcpOptions& options) {
  Meeting meeting(options);
  meeting.run();
  return meeting.take(io);
}

}  // namespace gradwire
