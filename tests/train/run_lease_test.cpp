#include "train/run_lease.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <vector>

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/error.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Answer = RunLease::Answer;

class RunLeaseTest : public testing::Test {
 protected:
  static RunLease::Options options(LeaseHolder own, std::chrono::milliseconds silence = 1h) {
    return {.beat = 5ms, .silence = silence, .own = std::move(own)};
  }
  // A process of another host, about which nothing can be found out.
  static LeaseHolder elsewhere(const std::string& host = "elsewhere") {
    LeaseHolder h = this_process();
    h.host = host;
    return h;
  }
  // Takes the lease in a process of its own, which then ends without giving it back, but is not
  // waited for until the test is over.
  void leave_behind() {
    const pid_t child = ::fork();
    if (child == 0) {
      RunLease lease(folder_);
      ::_exit(lease.take() == Answer::kTaken ? 0 : 1);
    }
    siginfo_t info{};
    ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
    ASSERT_EQ(info.si_status, 0);
    children_.push_back(child);
  }
  void TearDown() override {
    for (const pid_t child : children_)
      ::waitpid(child, nullptr, 0);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(folder_))
      found.push_back(entry.path().filename().string());
    return found;
  }
  static Answer take_in_time(RunLease& lease) {
    Answer answer = Answer::kWait;
    while ((answer = lease.take()) == Answer::kWait)
      std::this_thread::sleep_for(1ms);
    return answer;
  }

  test::TempFolder root_;
  std::string folder_ = root_.file("runs/a");
  std::vector<pid_t> children_;
};

TEST_F(RunLeaseTest, OneAtATime) {
  auto first = std::make_unique<RunLease>(folder_);
  EXPECT_EQ(first->take(), Answer::kTaken);
  RunLease second(folder_);
  EXPECT_EQ(second.take(), Answer::kHeld);
  ASSERT_TRUE(second.holder());
  EXPECT_EQ(second.holder()->process, ::getpid());
  EXPECT_NE(to_text(*second.holder()).find(std::to_string(::getpid())), std::string::npos);
  first.reset();
  EXPECT_EQ(second.take(), Answer::kTaken);
}

TEST_F(RunLeaseTest, HostIsShownInOneLine) {
  LeaseHolder holder = this_process();
  holder.host = "node\x1b[2J\xff";
  holder.process = 7;
  EXPECT_EQ(to_text(holder), "process 7 on node\\x1b[2J\\xff");
}

TEST_F(RunLeaseTest, LeavesNothing) {
  {
    RunLease lease(folder_);
    ASSERT_EQ(lease.take(), Answer::kTaken);
    EXPECT_EQ(names(), std::vector<std::string>{"lease"});
    EXPECT_EQ(lease_in(folder_)->nonce, lease.nonce());
  }
  EXPECT_FALSE(fs::exists(root_.file("runs")));
}

TEST_F(RunLeaseTest, LeavesAFolderThatItDidNotMakeOrThatIsUsed) {
  fs::create_directories(root_.file("runs"));
  {
    RunLease lease(folder_);
    ASSERT_EQ(lease.take(), Answer::kTaken);
  }
  EXPECT_TRUE(fs::exists(root_.file("runs")));
  EXPECT_FALSE(fs::exists(folder_));
  {
    RunLease lease(folder_);
    ASSERT_EQ(lease.take(), Answer::kTaken);
    std::ofstream(folder_ + "/file") << "x";
  }
  EXPECT_EQ(names(), std::vector<std::string>{"file"});
}

TEST_F(RunLeaseTest, OfAProcessThatHasEndedIsTakenOverAtOnce) {
  leave_behind();
  RunLease next(folder_, options(this_process()));
  EXPECT_EQ(next.take(), Answer::kTaken);
  EXPECT_EQ(next.holder()->process, children_.front());
  EXPECT_EQ(names(), std::vector<std::string>{"lease"});
}

// The number of the process that held it is another's by now: that of this test's.
TEST_F(RunLeaseTest, OfAProcessWhoseNumberIsUsedAgainIsTakenOver) {
  LeaseHolder before = this_process();
  before.started = "1";
  RunLease first(folder_, options(before));
  ASSERT_EQ(first.take(), Answer::kTaken);
  RunLease next(folder_, options(this_process()));
  EXPECT_EQ(next.take(), Answer::kTaken);
}

TEST_F(RunLeaseTest, OfAnotherHostIsTakenOverAfterSilence) {
  RunLease first(folder_, options(elsewhere()));
  ASSERT_EQ(first.take(), Answer::kTaken);
  RunLease next(folder_, options(this_process(), 100ms));
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(next.take(), Answer::kWait);
  EXPECT_EQ(take_in_time(next), Answer::kTaken);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 100ms);
}

TEST_F(RunLeaseTest, OfAnotherHostThatBeatsIsHeld) {
  RunLease first(folder_, options(elsewhere()));
  ASSERT_EQ(first.take(), Answer::kTaken);
  first.keep([](const LeaseHolder&) { FAIL(); });
  RunLease next(folder_, options(this_process()));
  EXPECT_EQ(take_in_time(next), Answer::kHeld);
}

// Containers of one host may not see each other's processes.
TEST_F(RunLeaseTest, OfAnotherNamespaceOrBootIsNotLookedUp) {
  for (const bool boot : {true, false}) {
    LeaseHolder other = this_process();
    (boot ? other.boot : other.space) = "other";
    other.process = 0;
    RunLease first(folder_, options(other));
    ASSERT_EQ(first.take(), Answer::kTaken);
    RunLease next(folder_, options(this_process()));
    EXPECT_EQ(next.take(), Answer::kWait);
  }
}

TEST_F(RunLeaseTest, WhatCannotBeReadIsWaitedFor) {
  fs::create_directories(folder_);
  std::ofstream(folder_ + "/lease") << "\x01\x02";
  RunLease next(folder_, options(this_process(), 50ms));
  EXPECT_EQ(next.take(), Answer::kWait);
  EXPECT_EQ(take_in_time(next), Answer::kTaken);
}

TEST_F(RunLeaseTest, HolderLearnsThatItIsTakenOver) {
  RunLease first(folder_, options(elsewhere()));
  ASSERT_EQ(first.take(), Answer::kTaken);
  RunLease next(folder_, options(elsewhere("third"), 0ms));
  EXPECT_EQ(take_in_time(next), Answer::kTaken);
  std::atomic<bool> lost{false};
  first.keep([&](const LeaseHolder& by) { lost = by.nonce == next.nonce(); });
  while (!lost)
    std::this_thread::sleep_for(1ms);
}

TEST_F(RunLeaseTest, ThatWasTakenOverIsNotGivenBack) {
  auto first = std::make_unique<RunLease>(folder_, options(elsewhere()));
  ASSERT_EQ(first->take(), Answer::kTaken);
  RunLease next(folder_, options(this_process(), 0ms));
  EXPECT_EQ(take_in_time(next), Answer::kTaken);
  first.reset();
  EXPECT_EQ(lease_in(folder_)->nonce, next.nonce());
}

// The folder of a run may be deleted while it trains: checkpoints make it anew.
TEST_F(RunLeaseTest, ThatWasDeletedIsMadeAnew) {
  RunLease lease(folder_, options(this_process()));
  ASSERT_EQ(lease.take(), Answer::kTaken);
  lease.keep([](const LeaseHolder&) { FAIL(); });
  fs::remove_all(folder_);
  std::this_thread::sleep_for(20ms);
  fs::create_directories(folder_);
  while (!lease_in(folder_))
    std::this_thread::sleep_for(1ms);
  EXPECT_EQ(lease_in(folder_)->nonce, lease.nonce());
}

TEST_F(RunLeaseTest, OneOfManyTakesAStaleLease) {
  for (int round = 0; round < 20; ++round) {
    leave_behind();
    std::atomic<int> taken{0};
    std::vector<std::unique_ptr<RunLease>> all;
    for (int i = 0; i < 8; ++i)
      all.push_back(std::make_unique<RunLease>(folder_));
    std::vector<std::thread> threads;
    for (auto& lease : all)
      threads.emplace_back([&] { taken += take_in_time(*lease) == Answer::kTaken ? 1 : 0; });
    for (std::thread& t : threads)
      t.join();
    EXPECT_EQ(taken, 1);
    all.clear();
    EXPECT_EQ(names(), std::vector<std::string>{});
  }
}

TEST_F(RunLeaseTest, OneOfManyTakesAFreeFolder) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> taken{0};
    std::vector<std::unique_ptr<RunLease>> all;
    for (int i = 0; i < 8; ++i)
      all.push_back(std::make_unique<RunLease>(folder_));
    std::vector<std::thread> threads;
    for (auto& lease : all)
      threads.emplace_back([&] { taken += take_in_time(*lease) == Answer::kTaken ? 1 : 0; });
    for (std::thread& t : threads)
      t.join();
    EXPECT_EQ(taken, 1);
  }
}

TEST_F(RunLeaseTest, AFolderThatCannotBeMadeIsAnError) {
  root_.write("file", "x");
  RunLease lease(root_.file("file/run"));
  EXPECT_ANY_THROW(lease.take());
}

}  // namespace
}  // namespace gradwire
