// Jobs under mpirun that end badly: what every rank saw and with which status it ended.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

// A scenario of mpi_scenario.cpp on some ranks, in a folder of its own.
class Job {
 public:
  Job(const std::string& scenario, int ranks) : ranks_(ranks) {
    // The shell outlives the rank and writes down its status, whatever mpirun does to the others.
    const std::string rank = fmt::format(
        "trap : TERM; {} {} {} & wait $!; while kill -0 $! 2>/dev/null; do wait $!; done; wait $!; "
        "echo $? > {}/code.$OMPI_COMM_WORLD_RANK",
        GW_SCENARIO, scenario, dir_.path().string(), dir_.path().string());
    mpirun_ = fork();
    if (mpirun_ == 0) {
      setpgid(0, 0);
      const std::string n = std::to_string(ranks);
      execl(GW_MPIEXEC, GW_MPIEXEC, "--allow-run-as-root", "--oversubscribe", "--bind-to", "none",
            "--mca", "pml", "ob1", "--mca", "mpi_yield_when_idle", "1", "-n", n.c_str(), "sh", "-c",
            rank.c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
  }
  ~Job() {
    if (mpirun_ > 0) kill(-mpirun_, SIGKILL);
  }
  Job(const Job&) = delete;
  Job& operator=(const Job&) = delete;

  // What rank r wrote to `file`, waiting for it; empty after 20 s.
  std::string read(const std::string& file, int rank) const {
    const std::string path = dir_.file(fmt::format("{}.{}", file, rank));
    for (const auto end = Clock::now() + 20s; Clock::now() < end;) {
      std::ifstream in(path);
      std::string line;
      if (in && std::getline(in, line)) return line;
      std::this_thread::sleep_for(5ms);
    }
    return "";
  }
  // mpirun's own exit status; -1 if it does not end within 30 s.
  int wait() {
    for (const auto end = Clock::now() + 30s; Clock::now() < end;) {
      int status = 0;
      if (waitpid(mpirun_, &status, WNOHANG) == mpirun_) {
        mpirun_ = 0;
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      }
      std::this_thread::sleep_for(5ms);
    }
    return -1;
  }
  int ranks() const { return ranks_; }

 private:
  int ranks_;
  test::TempFolder dir_;
  pid_t mpirun_ = 0;
};

class PeerWatchJob : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(KilledRank, PeerWatchJob, testing::Values(0, 1, 2));

TEST_P(PeerWatchJob, SurvivorsOfAKillNameTheLostRankAndExitWithSix) {
  const int victim = GetParam();
  Job job("train_under_watch", 3);
  std::vector<pid_t> pids;
  for (int r = 0; r < job.ranks(); ++r)
    pids.push_back(std::stoi("0" + job.read("pid", r)));
  ASSERT_GT(pids[static_cast<std::size_t>(victim)], 0);
  std::this_thread::sleep_for(50ms);
  ASSERT_EQ(kill(pids[static_cast<std::size_t>(victim)], SIGKILL), 0);
  const auto killed = Clock::now();
  for (int r = 0; r < job.ranks(); ++r) {
    if (r == victim) continue;
    EXPECT_THAT(job.read("rank", r),
                testing::MatchesRegex(fmt::format(
                    "lost {}: rank {} on host .+ was lost at ..:..:..: its connection closed "
                    "without a goodbye",
                    victim, victim)));
    EXPECT_EQ(job.read("code", r), "6");
  }
  RecordProperty("ms", static_cast<int>((Clock::now() - killed) / 1ms));
  EXPECT_LT(Clock::now() - killed, 10s);
  EXPECT_NE(job.wait(), 0);
}

TEST(PeerWatchJob, OneRanksReasonReachesTheOthers) {
  Job job("give_up_under_watch", 3);
  EXPECT_EQ(job.read("rank", 0), "lost 1: disk full on node7");
  EXPECT_EQ(job.read("rank", 2), "lost 1: disk full on node7");
  EXPECT_EQ(job.read("rank", 1), "gave up");
  EXPECT_NE(job.wait(), 0);
}

TEST(PeerWatchJob, LeavingTogetherIsNoLoss) {
  Job job("leave_together", 3);
  for (int r = 0; r < job.ranks(); ++r)
    EXPECT_EQ(job.read("rank", r), "left");
  EXPECT_EQ(job.wait(), 0);
}

TEST(PeerWatchJob, AnErrorOfAllRanksIsEachOnesOwn) {
  Job job("fail_together", 3);
  for (int r = 0; r < job.ranks(); ++r) {
    EXPECT_EQ(job.read("rank", r), "does not fit");
    EXPECT_EQ(job.read("code", r), "2");
  }
  EXPECT_NE(job.wait(), 0);
}

TEST(PeerWatchJob, MissingRankIsNamed) {
  Job job("one_stays_away", 3);
  for (const int r : {0, 2})
    EXPECT_EQ(job.read("rank", r), "peer watch: 2 of 3 ranks connected; missing: 1 ()");
  job.wait();
}

class EndOfWorld : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Contract, EndOfWorld,
                         testing::Values("abort", "timeout", "mismatch", "drop"),
                         [](const auto& p) { return std::string(p.param); });

TEST_P(EndOfWorld, EveryRankSeesTheCause) {
  Job job(GetParam(), 3);
  for (int r = 0; r < job.ranks(); ++r)
    EXPECT_EQ(job.read("rank", r), "as expected") << "rank " << r;
  job.wait();
}

}  // namespace
}  // namespace gradwire
