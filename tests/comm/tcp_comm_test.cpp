#include "comm/tcp_comm.h"

#include <chrono>
#include <numeric>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/proof.h"
#include "comm/tcp/connection.h"
#include "comm/tcp/hello.h"
#include "core/hash.h"
#include "tests/support/comm_contract.h"
#include "tests/support/expect_error.h"
#include "tests/support/tcp_ranks.h"

namespace gradwire {
namespace {

using namespace std::chrono_literals;
using Tcp = boost::asio::ip::tcp;

using Param = std::tuple<int, std::size_t>;  // ranks, case
class TcpContract : public testing::TestWithParam<Param> {};

std::string name_of_case(const testing::TestParamInfo<Param>& p) {
  return std::string(test::contract_cases()[std::get<1>(p.param)].name) + "_n" +
         std::to_string(std::get<0>(p.param));
}

TEST_P(TcpContract, Holds) {
  const auto [ranks, index] = GetParam();
  test::run_tcp_ranks(ranks, test::contract_cases()[index].run, {.timeout = 60s});
}
// Messages that come in any order, in many pieces.
TEST_P(TcpContract, HoldsOverManyConnections) {
  const auto [ranks, index] = GetParam();
  test::run_tcp_ranks(ranks, test::contract_cases()[index].run,
                      {.timeout = 60s, .piece_bytes = 1000, .connections = 3});
}
INSTANTIATE_TEST_SUITE_P(
    Ranks, TcpContract,
    testing::Combine(testing::Values(1, 2, 3, 4),
                     testing::Range<std::size_t>(0, test::contract_cases().size())),
    name_of_case);

class TcpFailure : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, TcpFailure, testing::Values(2, 3, 4));

TEST_P(TcpFailure, AbortReachesWaitingRanks) {
  test::run_tcp_ranks(GetParam(), test::contract_abort_reaches_waiting_ranks, {.timeout = 60s});
}
TEST_P(TcpFailure, MissingRankTimesOut) {
  const auto options = test::tcp_options(GetParam(), {.timeout = 400ms});
  for (const std::string& failure :
       test::failures_of_tcp_ranks(options, test::contract_missing_rank_times_out))
    EXPECT_EQ(failure, "");
}
TEST_P(TcpFailure, MismatchIsReported) {
  test::run_tcp_ranks(GetParam(), test::contract_mismatch_is_reported, {.timeout = 60s});
}
TEST_P(TcpFailure, DroppedHandleFailsTheOthers) {
  test::run_tcp_ranks(GetParam(), test::contract_dropped_handle_fails_the_others, {.timeout = 60s});
}

TEST(TcpComm, MessageOfAnotherSizeIsReported) {
  const auto fn = [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Tensor t = Tensor::zeros(cx, {comm.rank() == 0 ? 4 : 2}, DType::kF32);
    const P2p group[] = {
        {comm.rank() == 0 ? P2p::Dir::kSend : P2p::Dir::kRecv, 1 - comm.rank(), t}};
    comm.exchange(group, cx.stream)->wait(cx.stream);
  };
  for (const std::string& failure : test::failures_of_tcp_ranks(test::tcp_options(2), fn))
    EXPECT_THAT(failure, testing::HasSubstr("rank 0 sends 16 bytes to rank 1, which expects 8"));
}

TEST(TcpComm, ALeavingErrorReachesTheOthers) {
  const auto fn = [](Communicator& comm) {
    if (comm.rank() == 1) throw Error(ErrorKind::kData, "corpus is empty");
    comm.barrier();
  };
  const auto failures = test::failures_of_tcp_ranks(test::tcp_options(3), fn);
  EXPECT_EQ(failures[0], "communication: rank 1 left with an error");
  EXPECT_EQ(failures[1], "data: corpus is empty");
  EXPECT_EQ(failures[2], "communication: rank 1 left with an error");
}

// What cannot be a world is refused before anybody is waited for.
TEST(TcpWorldOptions, AreChecked) {
  const auto refused = [](const char* text, const TcpOptions& options) {
    test::expect_error(ErrorKind::kUsage, text, [&] { TcpWorld world(options); });
  };
  refused("rank 2 of 2", {.rank = 2, .size = 2});
  refused("pieces of 0 bytes", {.piece_bytes = 0});
  refused("0 connections", {.connections = 0});
  refused("no address", {.addresses = {}});
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
  auto options = test::tcp_options(2, {.greeting = 100ms, .timeout = 60s});
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

TEST(Proof, IsBoundToEachPart) {
  EXPECT_TRUE(same_digest(prove("k", {"a", "b"}), prove("k", {"a", "b"})));
  EXPECT_FALSE(same_digest(prove("k", {"a", "b"}), prove("k", {"ab", ""})));
  EXPECT_FALSE(same_digest(prove("k", {"a", "b"}), prove("l", {"a", "b"})));
  EXPECT_FALSE(same_digest(make_nonce(), make_nonce()));
  const Digest digest = prove("", {"x"});
  EXPECT_EQ(digest_from_hex(to_hex(digest)), digest);
  for (const char* bad : {"", "00", "zz"})
    EXPECT_EQ(digest_from_hex(bad), std::nullopt);
}

// Two sockets on loopback, joined.
struct Wire {
  Wire() {
    Tcp::acceptor acceptor(io, {boost::asio::ip::address_v4::loopback(), 0});
    Tcp::socket there(io);
    far.connect(acceptor.local_endpoint());
    acceptor.accept(there);
    near = std::make_shared<TcpConnection>(std::move(there));
  }
  boost::asio::io_context io;
  Tcp::socket far{io};
  std::shared_ptr<TcpConnection> near;
};

TEST(TcpConnection, FindsDamage) {
  for (const bool damaged : {false, true}) {
    Wire wire;
    std::vector<std::byte> payload(1000), got(payload.size());
    FrameHeader header;
    header.bytes = payload.size();
    header.checksum = hash_of(payload);
    if (damaged) payload[777] ^= std::byte{4};
    boost::asio::write(wire.far, boost::asio::buffer(&header, sizeof header));
    boost::asio::write(wire.far, boost::asio::buffer(payload));
    wire.far.close();
    std::string end;
    int arrived = 0;
    wire.near->start([&](const FrameHeader&) { return got.data(); },
                     [&](const FrameHeader&) { ++arrived; },
                     [&](const std::string& why) { end = why; });
    if (damaged) {
      test::expect_error(ErrorKind::kComm, "arrived damaged", [&] { wire.io.run(); });
    } else {
      wire.io.run();
      EXPECT_EQ(end, "End of file");
    }
    EXPECT_EQ(arrived, damaged ? 0 : 1);
  }
}

TEST(TcpConnection, KnowsItsOwnFrames) {
  Wire wire;
  const std::vector<char> nonsense(sizeof(FrameHeader), 'x');
  boost::asio::write(wire.far, boost::asio::buffer(nonsense));
  wire.near->start([](const FrameHeader&) -> std::byte* { return nullptr; },
                   [](const FrameHeader&) {}, [](const std::string&) {});
  test::expect_error(ErrorKind::kComm, "no frame of ours", [&] { wire.io.run(); });
}

}  // namespace
}  // namespace gradwire
