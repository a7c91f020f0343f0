#include "comm/local/local_comm.h"

#include <atomic>
#include <chrono>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/support/comm_contract.h"

namespace gradwire {
namespace {

using namespace std::chrono_literals;

using Param = std::tuple<int, std::size_t>;  // ranks, case
class LocalContract : public testing::TestWithParam<Param> {};

TEST_P(LocalContract, Holds) {
  const auto [ranks, index] = GetParam();
  run_ranks(ranks, test::contract_cases()[index].run, {60s});
}

INSTANTIATE_TEST_SUITE_P(
    Ranks, LocalContract,
    testing::Combine(testing::Values(1, 2, 3, 4, 7),
                     testing::Range<std::size_t>(0, test::contract_cases().size())),
    [](const testing::TestParamInfo<Param>& p) {
      return std::string(test::contract_cases()[std::get<1>(p.param)].name) + "_n" +
             std::to_string(std::get<0>(p.param));
    });

class LocalFailure : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, LocalFailure, testing::Values(2, 3, 7));

TEST_P(LocalFailure, AbortReachesWaitingRanks) {
  run_ranks(GetParam(), test::contract_abort_reaches_waiting_ranks, {60s});
}
TEST_P(LocalFailure, MissingRankTimesOut) {
  run_ranks(GetParam(), test::contract_missing_rank_times_out, {100ms});
}
TEST_P(LocalFailure, MismatchIsReported) {
  run_ranks(GetParam(), test::contract_mismatch_is_reported, {60s});
}
TEST_P(LocalFailure, DroppedHandleFailsTheOthers) {
  run_ranks(GetParam(), test::contract_dropped_handle_fails_the_others, {60s});
}

std::string failure_of(int ranks, const std::function<void(Communicator&)>& fn,
                       ErrorKind kind = ErrorKind::kInternal) {
  try {
    run_ranks(ranks, fn, {60s});
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "no error";
}

TEST(RunRanks, RethrowsTheCauseWithItsRankAndKind) {
  const auto fn = [](Communicator& comm) {
    if (comm.rank() == 2) throw Error(ErrorKind::kData, "corpus is empty");
    comm.barrier();
  };
  EXPECT_EQ(failure_of(4, fn, ErrorKind::kData), "rank 2 of 4: corpus is empty");
}

TEST(RunRanks, ForeignExceptionsAreInternal) {
  const auto throws = [](Communicator&) { throw std::runtime_error("odd"); };
  EXPECT_EQ(failure_of(1, throws), "rank 0 of 1: odd");
  const auto throws_int = [](Communicator&) { throw 7; };
  EXPECT_EQ(failure_of(1, throws_int), "rank 0 of 1: an exception of unknown type");
}

TEST(RunRanks, TheOthersAreToldTheCause) {
  std::atomic<int> told = 0;
  const auto fn = [&](Communicator& comm) {
    if (comm.rank() == 0) throw Error(ErrorKind::kData, "corpus is empty");
    try {
      comm.barrier();
    } catch (const Error& e) {
      EXPECT_STREQ(e.what(), "rank 0 failed: corpus is empty");
      ++told;
      throw;
    }
  };
  EXPECT_THAT(failure_of(5, fn, ErrorKind::kData), testing::HasSubstr("rank 0 of 5"));
  EXPECT_EQ(told, 4);
}

TEST(RunRanks, HundredsOfRanks) {
  std::atomic<int> finished = 0;
  run_ranks(300, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Tensor t = Tensor::from(cx, {2}, std::vector<std::int32_t>{1, comm.rank()});
    for (int i = 0; i < 3; ++i)
      comm.all_reduce(t, ReduceOp::kMax, cx.stream)->wait(cx.stream);
    EXPECT_EQ(t.to_host<std::int32_t>(cx), (std::vector<std::int32_t>{1, 299}));
    ++finished;
  });
  EXPECT_EQ(finished, 300);
}

TEST(RunRanks, NeedsARank) {
  EXPECT_THROW(run_ranks(0, [](Communicator&) {}), Error);
}

TEST(LocalComm, MessageOfAnotherSizeIsReported) {
  const auto fn = [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Tensor t = Tensor::zeros(cx, {comm.rank() == 0 ? 4 : 2}, DType::kF32);
    const P2p group[] = {
        {comm.rank() == 0 ? P2p::Dir::kSend : P2p::Dir::kRecv, 1 - comm.rank(), t}};
    comm.batch_send_recv(group, cx.stream)->wait(cx.stream);
  };
  EXPECT_THAT(failure_of(2, fn, ErrorKind::kComm),
              testing::HasSubstr("rank 0 sends 16 bytes to rank 1, which expects 8"));
}

TEST(LocalComm, UnansweredMessageTimesOut) {
  const auto fn = [](Communicator& comm) {
    if (comm.rank() == 1) return;
    Runtime runtime;
    Context& cx = runtime.context();
    Tensor t = Tensor::zeros(cx, {4}, DType::kF32);
    const P2p group[] = {{P2p::Dir::kSend, 1, t}};
    comm.batch_send_recv(group, cx.stream)->wait(cx.stream);
  };
  try {
    run_ranks(2, fn, {50ms});
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("exchange #0 (1 messages): no message between it and "
                                             "rank 1"));
  }
}

}  // namespace
}  // namespace gradwire
