#include "train/stall/status_board.h"

#include <filesystem>
#include <fstream>
#include <thread>

#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/context.h"
#include "tests/support/expect_error.h"
#include "train/stall/status_recorder.h"

namespace gradwire {
namespace {

class StatusBoardTest : public testing::Test {
 protected:
  StatusBoardTest()
      : dir_(testing::TempDir() + "status_board_" +
             testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  ~StatusBoardTest() override { std::filesystem::remove_all(dir_); }
  std::string path(int rank) const { return status_path(dir_, rank); }

  std::string dir_;
};

RankStatus of_rank(int rank) {
  RankStatus s;
  s.rank = rank;
  s.pid = 1000 + rank;
  return s;
}

TEST_F(StatusBoardTest, OthersReadWhatWasWritten) {
  std::int64_t now_ms = 5000;
  StatusBoard board(path(3), of_rank(3), [&] { return now_ms; });
  StepRecorder steps(board);
  steps.step_begins(12);
  now_ms = 6500;
  steps.action_begins(make_action(Act::kBackward, 1, 4));
  const std::optional<RankStatus> seen = read_status(path(3));
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->rank, 3);
  EXPECT_EQ(seen->pid, 1003);
  EXPECT_EQ(seen->heartbeat_ms, 5000);
  EXPECT_EQ(seen->step, 12);
  EXPECT_EQ(seen->doing, Doing::kAction);
  EXPECT_EQ(seen->action, make_action(Act::kBackward, 1, 4));
  EXPECT_EQ(seen->doing_since_ms, 6500);
  EXPECT_EQ(seen->progress, 2u);
}

TEST_F(StatusBoardTest, WhatIsNoBoardIsNothing) {
  EXPECT_FALSE(read_status(path(0)));
  { std::ofstream(path(1)) << "short"; }
  EXPECT_FALSE(read_status(path(1)));
  { StatusBoard board(path(2), of_rank(2)); }
  const auto size = static_cast<std::size_t>(std::filesystem::file_size(path(2)));
  std::ofstream(path(2)) << std::string(size, 'x');
  EXPECT_FALSE(read_status(path(2)));
  test::expect_error(ErrorKind::kIo, "nowhere/rank-00000: cannot be written",
                     [&] { StatusBoard board(dir_ + "/nowhere/rank-00000", of_rank(0)); });
}

// A version is seen whole or not at all, however fast the next ones come: step and progress of one
// always agree, and none is older than the one seen before.
// A run that is started beside a live one: the old board is truncated under nobody.
TEST_F(StatusBoardTest, ANewBoardLeavesTheOldOneToItsOwner) {
  StatusBoard old_board(path(0), of_rank(0));
  StatusBoard new_board(path(0), of_rank(7));
  StepRecorder(old_board).step_begins(3);  // in memory that a truncated file would not back
  EXPECT_EQ(old_board.status().step, 3);
  StepRecorder(new_board).step_begins(5);
  const std::optional<RankStatus> seen = read_status(path(0));
  ASSERT_TRUE(seen);
  EXPECT_EQ(seen->rank, 7);
  EXPECT_EQ(seen->step, 5);
}

TEST_F(StatusBoardTest, ReadersSeeWholeVersions) {
  StatusBoard board(path(0), of_rank(0));
  const std::jthread writer([&](const std::stop_token& stop) {
    for (int i = 1; !stop.stop_requested(); ++i) {
      board.change([i](RankStatus& s, std::int64_t) {
        s.progress = static_cast<std::uint64_t>(i);
        s.step = i;
        s.waits_since_ms = i;
      });
    }
  });
  std::int64_t newest = 0;
  int seen_whole = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::optional<RankStatus> seen = read_status(path(0));
    if (!seen) continue;
    ++seen_whole;
    ASSERT_EQ(static_cast<std::int64_t>(seen->progress), seen->step);
    ASSERT_EQ(seen->step, seen->waits_since_ms);
    ASSERT_GE(seen->step, newest);
    newest = seen->step;
  }
  EXPECT_GT(seen_whole, 0);
}

// Two ranks that are ranks 4 and 6 of the world.
TEST_F(StatusBoardTest, RecordsCallsAndWhatIsWaitedFor) {
  run_ranks(2, [&](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    StatusBoard board(path(comm.rank()), of_rank(comm.rank()));
    CallRecorder calls(board, comm, "pipeline", {4, 6});
    Tensor t = Tensor::zeros(cx, {8}, DType::kF32);
    comm.barrier();
    comm.all_reduce(t, ReduceOp::kSum, cx.stream)->wait(cx.stream);
    RankStatus s = board.status();
    EXPECT_STREQ(s.groups[0].name.data(), "pipeline");
    EXPECT_EQ(s.groups[0].first, 4);
    EXPECT_EQ(s.groups[0].collectives, 2u);
    EXPECT_EQ(s.last_collective.kind, CallKind::kAllReduce);
    EXPECT_EQ(s.last_collective.sequence, 1u);
    EXPECT_EQ(s.waits_for.group, -1);

    calls.waits({CallKind::kExchange, 7, 1 - comm.rank()});
    s = board.status();
    EXPECT_EQ(s.waits_for.group, 0);
    EXPECT_EQ(s.waits_for.kind, CallKind::kExchange);
    EXPECT_EQ(s.waits_for.sequence, 7u);
    EXPECT_EQ(s.waits_for.peer, comm.rank() == 0 ? 6 : 4);
    EXPECT_EQ(s.groups[0].collectives, 2u);
    calls.goes_on();
    EXPECT_EQ(board.status().waits_for.group, -1);
  });
}

}  // namespace
}  // namespace gradwire
