#include "comm/tcp/tcp_comm.h"

#include <chrono>
#include <numeric>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/tcp/connection.h"
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
    comm.batch_send_recv(group, cx.stream)->wait(cx.stream);
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
TEST(TcpComm, WhatAPeerSaysIsShownInOneLine) {
  const auto failures = test::failures_of_tcp_ranks(test::tcp_options(2), [](Communicator& comm) {
    if (comm.rank() == 1) comm.abort("2 problems\nwarning: \x1b[2J\xff");
    comm.barrier();
  });
  EXPECT_NE(failures[0].find("2 problems warning: \\x1b[2J\\xff"), std::string::npos)
      << failures[0];
}

TEST(TcpWorldOptions, AreChecked) {
  const auto refused = [](const char* text, const TcpOptions& options) {
    test::expect_error(ErrorKind::kUsage, text, [&] { TcpWorld world(options); });
  };
  refused("rank 2 of 2", {.rank = 2, .size = 2});
  refused("pieces of 0 bytes", {.piece_bytes = 0});
  refused("0 connections", {.connections = 0});
  refused("no address", {.addresses = {}});
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
