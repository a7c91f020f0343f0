// How the ranks of a TCP world find each other, and what becomes of those who do not.
#include <atomic>
#include <chrono>
#include <mutex>
#include <numeric>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "comm/proof.h"
#include "comm/tcp/doors.h"
#include "comm/tcp/hello.h"
#include "comm/tcp/mesh.h"
#include "comm/tcp/tcp_comm.h"
#include "tests/support/expect_error.h"
#include "tests/support/tcp_ranks.h"

namespace gradwire {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::MatchesRegex;
using Tcp = boost::asio::ip::tcp;

// What is said while ranks meet.
class Said {
 public:
  MeetingHooks hooks() {
    return {{}, [this](const std::string& text) {
              const std::lock_guard lock(mutex_);
              all_ += text + "\n";
            }};
  }
  std::string all() {
    const std::lock_guard lock(mutex_);
    return all_;
  }
  void wait_for(const std::string& text) {
    const auto end = std::chrono::steady_clock::now() + 60s;
    while (all().find(text) == std::string::npos) {
      ASSERT_LT(std::chrono::steady_clock::now(), end) << "never said: " << text << "\n" << all();
      std::this_thread::sleep_for(5ms);
    }
  }

 private:
  std::mutex mutex_;
  std::string all_;
};

// A rank that is let in by rank 0, and then does nothing.
class Puppet {
 public:
  explicit Puppet(const TcpOptions& options) {
    socket_.connect({boost::asio::ip::address_v4::loopback(), options.port});
    const Hello hello = make_hello(options);
    boost::asio::write(socket_, boost::asio::buffer(&hello, sizeof hello));
    Reply reply;
    boost::asio::read(socket_, boost::asio::buffer(&reply, sizeof reply));
    const Digest proof = hello_proof(hello, reply.digest, options);
    boost::asio::write(socket_, boost::asio::buffer(proof));
    boost::asio::read(socket_, boost::asio::buffer(&reply, sizeof reply));
    EXPECT_EQ(reply.verdict, Reply::kWelcome) << to_string(reply.why);
  }
  void die() { socket_.close(); }

 private:
  boost::asio::io_context io_;
  Tcp::socket socket_{io_};
};

void barrier(Communicator& comm) {
  comm.barrier();
}

TEST(TcpMeeting, NamesTheRanksThatDidNotCome) {
  auto options = test::tcp_options(4, {.timeout = 300ms});
  options.erase(options.begin() + 2);
  const auto begin = std::chrono::steady_clock::now();
  const auto failures = test::failures_of_tcp_ranks(options, [](Communicator&) { FAIL(); });
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
  for (const std::string& failure : failures) {
    EXPECT_THAT(failure, testing::MatchesRegex("communication: tcp: .*3 of 4 ranks came to "
                                               "127.0.0.1:[0-9]+; missing: rank 2.*"));
  }
}

TEST(TcpMeeting, SaysThatRank0DoesNotAnswer) {
  TcpOptions alone = test::tcp_options(2, {.timeout = 200ms})[1];
  ::close(test::tcp_options(1)[0].listener);
  alone.port = 1;
  test::expect_error(ErrorKind::kComm, "no way to rank 0 at 127.0.0.1:1: Connection refused",
                     [&] { TcpWorld world(alone); });
}

TEST(TcpMeeting, SaysThatThePortIsTaken) {
  const Listener taken = listen_on_loopback();
  test::expect_error(ErrorKind::kComm, "cannot listen at 127.0.0.1:", [&] {
    TcpWorld world({.rank = 0, .size = 2, .port = taken.port, .timeout = 1s});
  });
  ::close(taken.socket);
}

// A rank of another job at the same port is shown out; the job that it came to is not disturbed.
TEST(TcpMeeting, KeepsOtherJobsOut) {
  const auto options = test::tcp_options(2, {.token = "job 1", .timeout = 20s});
  std::string turned_away;
  std::jthread other([&] {
    TcpOptions foreign = options[1];
    foreign.token = "job 2";
    turned_away = test::failures_of_tcp_ranks({foreign}, [](Communicator&) {})[0];
  });
  std::jthread wrong_size([&] {
    TcpOptions odd = options[1];
    odd.size = 5;
    odd.rank = 3;
    EXPECT_THAT(test::failures_of_tcp_ranks({odd}, [](Communicator&) {})[0],
                testing::HasSubstr("it counts 5 ranks, this one 2"));
  });
  std::jthread rank_0([&] {
    test::failures_of_tcp_ranks({options[0]}, [](Communicator& comm) { comm.barrier(); });
  });
  other.join();
  wrong_size.join();
  EXPECT_THAT(turned_away, testing::HasSubstr("turned rank 1 away: it belongs to another job"));
  EXPECT_EQ(test::failures_of_tcp_ranks({options[1]}, [](Communicator& c) { c.barrier(); })[0], "");
}

// Somebody who connects and says nothing, or nonsense, holds nobody up.
TEST(TcpMeeting, StrangersAreNoHindrance) {
  const auto options = test::tcp_options(3, {.timeout = 20s});
  boost::asio::io_context io;
  Tcp::socket silent(io), talker(io);
  const Tcp::endpoint at(boost::asio::ip::address_v4::loopback(), options[0].port);
  silent.connect(at);
  talker.connect(at);
  const std::string nonsense(500, 'x');
  boost::asio::write(talker, boost::asio::buffer(nonsense));
  for (const std::string& failure :
       test::failures_of_tcp_ranks(options, [](Communicator& comm) { comm.barrier(); }))
    EXPECT_EQ(failure, "");
}

// What goes over a connection never tells the token, nor helps whoever overhears it to come in.
TEST(TcpMeeting, WhatWasOverheardOpensNoDoor) {
  const auto options = test::tcp_options(2, {.token = "a secret of some length", .timeout = 20s});
  const Hello hello = make_hello(options[1]);
  const Digest nonce = make_nonce(), another = make_nonce();
  const Digest proof = hello_proof(hello, nonce, options[1]);
  EXPECT_TRUE(same_digest(proof, hello_proof(hello, nonce, options[0])));
  EXPECT_FALSE(same_digest(proof, hello_proof(hello, another, options[0])));
  Hello as_another = hello;
  as_another.rank = 2;
  EXPECT_FALSE(same_digest(proof, hello_proof(as_another, nonce, options[0])));
  EXPECT_FALSE(same_digest(proof, welcome_proof(0, hello, nonce, options[0])));
  EXPECT_FALSE(same_digest(welcome_proof(1, hello, nonce, options[0]),
                           welcome_proof(0, hello, nonce, options[0])));
}

// Says what a rank 0 would, without knowing the token.
TEST(TcpMeeting, WhoTakesRank0sPlaceIsFoundOut) {
  boost::asio::io_context io;
  Tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
  TcpOptions own = {.rank = 1, .size = 2, .token = "secret", .timeout = 20s};
  own.port = acceptor.local_endpoint().port();
  TcpOptions guess = own;
  guess.token = "guess";
  std::jthread impostor([&] {
    Tcp::socket socket = acceptor.accept();
    Hello hello;
    Digest proof;
    boost::asio::read(socket, boost::asio::buffer(&hello, sizeof hello));
    const Reply question{Reply::kProve, {}, make_nonce()};
    boost::asio::write(socket, boost::asio::buffer(&question, sizeof question));
    boost::asio::read(socket, boost::asio::buffer(proof));
    const Reply yes{Reply::kWelcome, {}, welcome_proof(0, hello, question.digest, guess)};
    boost::asio::write(socket, boost::asio::buffer(&yes, sizeof yes));
  });
  test::expect_error(ErrorKind::kComm,
                     "is not rank 0 of this job: it does not know the job's token",
                     [&] { TcpWorld world(own); });
}

// One that never says anything is shown out, while the ranks still wait for each other.
TEST(TcpMeeting, AGreetingHasADeadline) {
  auto options = test::tcp_options(2, {.greeting = 3s, .timeout = 600s});
  std::jthread rank_0([&] {
    EXPECT_EQ(test::failures_of_tcp_ranks({options[0]}, [](Communicator& c) { c.barrier(); })[0],
              "");
  });
  boost::asio::io_context io;
  Tcp::socket silent(io);
  silent.connect({boost::asio::ip::address_v4::loopback(), options[0].port});
  boost::system::error_code end;
  char byte = 0;
  boost::asio::read(silent, boost::asio::buffer(&byte, 1), end);
  EXPECT_EQ(end, boost::asio::error::eof);
  EXPECT_EQ(test::failures_of_tcp_ranks({options[1]}, [](Communicator& c) { c.barrier(); })[0], "");
}

TEST(TcpMeeting, AnotherVersionIsToldSo) {
  const auto options = test::tcp_options(2, {.timeout = 60s});
  std::jthread rank_0([&] {
    EXPECT_EQ(test::failures_of_tcp_ranks({options[0]}, [](Communicator& c) { c.barrier(); })[0],
              "");
  });
  boost::asio::io_context io;
  Tcp::socket old(io);
  old.connect({boost::asio::ip::address_v4::loopback(), options[0].port});
  const std::string words = "WHELLO01";
  boost::asio::write(old, boost::asio::buffer(words));
  Reply answer;
  boost::asio::read(old, boost::asio::buffer(&answer, sizeof answer));
  EXPECT_EQ(answer.verdict, Reply::kRefused);
  EXPECT_THAT(to_string(answer.why), testing::HasSubstr("another version"));
  EXPECT_EQ(test::failures_of_tcp_ranks({options[1]}, [](Communicator& c) { c.barrier(); })[0], "");
}

// Some have come, one of them goes, and one has not come: the others must not wait for that one.
TEST(TcpMeeting, ALossIsNamedToAllWithinSeconds) {
  auto options = test::tcp_options(4, {.timeout = 600s});
  const TcpOptions lost = options[2];
  options.resize(2);
  const auto begin = std::chrono::steady_clock::now();
  std::jthread goes([&] { Puppet(lost).die(); });
  for (const std::string& failure : test::failures_of_tcp_ranks(options, barrier)) {
    EXPECT_THAT(failure, MatchesRegex("communication: rank 2 on host .* was lost at .* while ranks "
                                      "met: its connection closed without a goodbye"));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 60s);
}

TEST(TcpMeeting, ALossOnceAllHaveComeEndsItAtOnce) {
  auto options = test::tcp_options(3, {.timeout = 600s});
  const TcpOptions lost = options[1];
  options.erase(options.begin() + 1);
  std::jthread goes([&] {
    Puppet puppet(lost);
    Said said;
    std::this_thread::sleep_for(100ms);  // others may have come or not: it is named either way
    puppet.die();
  });
  for (const std::string& failure : test::failures_of_tcp_ranks(options, barrier))
    EXPECT_THAT(failure, HasSubstr("rank 1 on host "));
}

TEST(TcpMeeting, ARankThatWasStartedAgainIsLetIn) {
  Said said;
  const auto options = test::tcp_options(3, {.timeout = 600s, .hooks = said.hooks()});
  std::string end_of_0 = "none";
  std::jthread rank_0([&] { end_of_0 = test::failures_of_tcp_ranks({options[0]}, barrier)[0]; });
  Puppet(options[1]).die();
  said.wait_for("rank 1 on host");
  EXPECT_THAT(said.all(), HasSubstr("has gone while ranks meet"));
  for (const std::string& failure : test::failures_of_tcp_ranks({options[1], options[2]}, barrier))
    EXPECT_EQ(failure, "");
  rank_0.join();
  EXPECT_EQ(end_of_0, "");
  EXPECT_THAT(said.all(), MatchesRegex("(.|\n)*rank 1 on host [^\n]* has come back\n(.|\n)*"));
}

TEST(TcpMeeting, TwoOfOneRankAreOneTooMany) {
  const auto options = test::tcp_options(3, {.timeout = 600s});
  std::jthread rank_0(
      [&] { EXPECT_EQ(test::failures_of_tcp_ranks({options[0]}, barrier)[0], ""); });
  Puppet first(options[1]);
  EXPECT_THAT(test::failures_of_tcp_ranks({options[1]}, barrier)[0],
              HasSubstr("turned rank 1 away: there is a rank 1 already"));
  first.die();
  for (const std::string& failure : test::failures_of_tcp_ranks({options[1], options[2]}, barrier))
    EXPECT_EQ(failure, "");
}

// As one that was stopped by a signal: it is named to all, and nobody ends before the timeout.
TEST(TcpMeeting, ASilentRankIsNamedAndWaitedFor) {
  Said by_0, by_2;
  auto options = test::tcp_options(4, {.timeout = 600s});
  options[0].hooks = by_0.hooks();
  options[2].hooks = by_2.hooks();
  std::vector<std::string> ends;
  std::jthread meet([&] { ends = test::failures_of_tcp_ranks({options[0], options[2]}, barrier); });
  const Puppet silent(options[1]);
  for (Said* said : {&by_0, &by_2})
    said->wait_for(" has been silent for 5 s while ranks meet");
  EXPECT_THAT(by_2.all(), MatchesRegex("rank 1 on host [^\n]*\n"));
  // One that takes its place is let in.
  std::jthread again([&] { EXPECT_EQ(test::failures_of_tcp_ranks({options[1]}, barrier)[0], ""); });
  by_2.wait_for(" has come back");
  EXPECT_EQ(test::failures_of_tcp_ranks({options[3]}, barrier)[0], "");
  meet.join();
  EXPECT_THAT(ends, testing::Each(""));
}

TEST(TcpMeeting, AStopThatOneRankIsAskedForEndsAll) {
  auto options = test::tcp_options(4, {.timeout = 600s});
  std::atomic<bool> stop = false;
  options[1].hooks.stop_requested = [&] { return stop.load(); };
  std::jthread asks([&] {
    std::this_thread::sleep_for(300ms);
    stop = true;
  });
  const auto begin = std::chrono::steady_clock::now();
  const auto ends = test::failures_of_tcp_ranks({options[0], options[1], options[2]}, barrier);
  EXPECT_THAT(ends, testing::Each("stopped on request while ranks met"));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
}

TEST(TcpMeeting, AStopIsHeardWithoutRank0) {
  TcpOptions alone = test::tcp_options(2, {.timeout = 600s})[1];
  ::close(test::tcp_options(1)[0].listener);
  alone.port = 1;
  alone.hooks.stop_requested = [] { return true; };
  EXPECT_EQ(test::failures_of_tcp_ranks({alone}, barrier)[0], "stopped on request while ranks met");
}

// How tcp_info goes on in the kernel; the C library knows its beginning.
struct TcpInfo {
  tcp_info known;
  std::uint64_t pacing_rate, max_pacing_rate, bytes_acked;
};

// The table of all contacts must not cost rank 0 the square of the ranks.
TEST(TcpMeeting, WhatRank0SendsGrowsWithTheRanks) {
  const auto bytes_sent_by_0 = [](int ranks) {
    const auto options = test::tcp_options(ranks, {.timeout = 600s});
    std::uint64_t sent = 0;
    std::vector<std::jthread> threads;
    for (const TcpOptions& own : options) {
      threads.emplace_back([&sent, &own] {
        boost::asio::io_context io;
        const std::vector<TcpLink> links = meet(io, own);
        for (std::size_t r = 1; own.rank == 0 && r < links.size(); ++r) {
          TcpInfo info{};
          socklen_t size = sizeof info;
          auto& control = const_cast<Tcp::socket&>(links[r].control);
          getsockopt(control.native_handle(), IPPROTO_TCP, TCP_INFO, &info, &size);
          sent += info.bytes_acked;
        }
      });
    }
    threads.clear();
    return sent;
  };
  const auto few = bytes_sent_by_0(5), many = bytes_sent_by_0(20);
  EXPECT_GT(few, 4 * sizeof(Reply));
  EXPECT_LT(many, 5 * few);
  for (int rank = 1; rank < 1000; ++rank)
    EXPECT_LT(parent_of(rank), rank);
}

TEST(TcpDoors, AreThoseOfTheNameOfRank0) {
  using boost::asio::ip::make_address;
  const auto at = [](std::initializer_list<const char*> addresses) {
    std::vector<boost::asio::ip::address> all;
    for (const char* a : addresses)
      all.push_back(make_address(a));
    return all;
  };
  const auto own = [](const boost::asio::ip::address& a) {
    return a.is_loopback() || a.to_string().starts_with("10.0.0.");
  };
  const auto doors = [&](std::initializer_list<const char*> resolved, bool one_host) {
    return choose_doors(at(resolved), one_host, own);
  };
  EXPECT_EQ(doors({"10.0.0.5"}, false).addresses, at({"10.0.0.5"}));
  EXPECT_EQ(doors({"10.0.0.5"}, false).warning, "");
  EXPECT_EQ(doors({"127.0.1.1", "10.0.0.5", "10.9.9.9"}, false).addresses, at({"10.0.0.5"}));
  EXPECT_EQ(doors({"127.0.1.1"}, true).addresses, at({"127.0.1.1"}));
  // A host that knows itself as loopback only; a name that is a service's.
  for (const Doors& all : {doors({"127.0.1.1"}, false), doors({"10.9.9.9"}, false)}) {
    EXPECT_EQ(all.addresses, at({"0.0.0.0"}));
    EXPECT_THAT(all.warning, HasSubstr("it listens on all interfaces"));
  }
}

// Between interfaces of one machine that other machines could reach.
TEST(TcpDoors, OfANumericAddressAreThatOneAlone) {
  boost::asio::io_context io;
  Said said;
  TcpOptions options{.addresses = {"127.0.0.2"}, .port = 0, .hooks = said.hooks()};
  const auto doors = open_doors(io, options);
  ASSERT_EQ(doors.size(), 1U);
  EXPECT_EQ(doors[0].local_endpoint().address().to_string(), "127.0.0.2");
  EXPECT_EQ(said.all(), "");
  options.addresses = {"0.0.0.0"};
  open_doors(io, options);
  EXPECT_THAT(said.all(), HasSubstr("without a token: whoever reaches that port can join in"));
}

}  // namespace
}  // namespace gradwire
