#include "train/stall/stall_report.h"

#include <vector>

#include <gtest/gtest.h>

#include "train/stall/heartbeats.h"

namespace gradwire {
namespace {

constexpr std::int64_t kNow = 1'000'000;

template <std::size_t N>
void set(std::array<char, N>& chars, std::string_view text) {
  text.copy(chars.data(), N - 1);
}

RankStatus running(int rank, std::int64_t step) {
  RankStatus s;
  set(s.host, rank < 2 ? "alpha" : "beta");
  s.rank = rank;
  s.heartbeat_ms = kNow - 200;
  s.step = step;
  s.doing = Doing::kAction;
  s.doing_since_ms = kNow - 6100;
  s.group_count = 2;
  set(s.groups[0].name, "world");
  s.groups[0].collectives = 38;
  set(s.groups[1].name, "data");
  s.groups[1].first = rank % 2;
  s.last_collective = {0, CallKind::kAllReduce, 37, CallNote::kAll};
  return s;
}

// Four ranks, 2 replicas x 2 stages: rank 1 is in its backward pass, rank 0 waits for it, rank 3
// for rank 1 to join the reduction, and rank 2 for rank 3.
std::vector<SeenRank> four() {
  std::vector<SeenRank> ranks(4);
  for (int r = 0; r < 4; ++r)
    ranks[static_cast<std::size_t>(r)] = {running(r, 12), 200, 'S'};
  RankStatus& r0 = *ranks[0].status;
  r0.action = make_action(Act::kBackward, 0, 2);
  r0.waits_for = {1, CallKind::kExchange, 14, 1};
  r0.waits_since_ms = kNow - 6000;
  RankStatus& r1 = *ranks[1].status;
  r1.action = make_action(Act::kBackward, 1, 2);
  r1.groups[1].collectives = 24;
  RankStatus& r2 = *ranks[2].status;
  r2.doing = Doing::kAgreement;
  r2.waits_for = {0, CallKind::kAllReduce, 38, CallNote::kAll};
  r2.waits_since_ms = kNow - 5900;
  r2.groups[0].collectives = 39;
  RankStatus& r3 = *ranks[3].status;
  r3.doing = Doing::kGradients;
  r3.waits_for = {1, CallKind::kAllReduce, 24, CallNote::kAll};
  r3.waits_since_ms = kNow - 5950;
  r3.groups[1].collectives = 25;
  r3.last_collective = {1, CallKind::kAllReduce, 24, CallNote::kAll};
  return ranks;
}

TEST(StallReport, TableAndCulprit) {
  const std::vector<SeenRank> ranks = four();
  const StallView view{ranks};
  EXPECT_EQ(find_culprit(view), 1);
  EXPECT_EQ(
      stall_report(view),
      "rank  host   step  action                                for    last collective          "
      "waits for\n"
      "0     alpha  12    backward of micro-batch 2 in stage 0  6.1 s  all-reduce #37 of world  "
      "rank 1: exchange #14 of data, 6.0 s\n"
      "1     alpha  12    backward of micro-batch 2 in stage 1  6.1 s  all-reduce #37 of world  "
      "nobody\n"
      "2     beta   12    agreeing on the step                  6.1 s  all-reduce #37 of world  "
      "rank 0, 1, 3: all-reduce #38 of world, 5.9 s\n"
      "3     beta   12    adding up gradients                   6.1 s  all-reduce #24 of data   "
      "rank 1: all-reduce #24 of data, 6.0 s\n"
      "Rank 1 on host alpha holds up the others: it waits for nobody, at step 12, backward of "
      "micro-batch 2 in stage 1 for 6.1 s.");
}

TEST(StallReport, NamesOfOthersAreShownInOneLine) {
  std::vector<SeenRank> ranks = four();
  set(ranks[1].status->host, "beta\x1b[2J\nall is well");
  const std::string report = stall_report({ranks, 10000});
  EXPECT_EQ(report.find('\x1b'), std::string::npos);
  EXPECT_NE(report.find("beta\\x1b[2J\\x0aall is well"), std::string::npos) << report;
}

// It may have been stopped while it waited itself.
TEST(StallReport, StoppedGoneAndSilentRanksAreToBlame) {
  std::vector<SeenRank> ranks = four();
  ranks[0].process = 'T';
  EXPECT_EQ(find_culprit({ranks}), 0);
  EXPECT_NE(stall_report({ranks}).find("Rank 0 on host alpha holds up the others: its process "
                                       "was stopped by a signal, at step 12"),
            std::string::npos);
  ranks = four();
  ranks[3].process = SeenRank::kGone;
  EXPECT_EQ(find_culprit({ranks}), 3);
  ranks = four();
  ranks[2].process = SeenRank::kUnknown;
  ranks[2].quiet_ms = 6000;
  EXPECT_EQ(find_culprit({ranks}), 2);
  EXPECT_NE(stall_report({ranks}).find("no sign of life for 6.0 s"), std::string::npos);
  EXPECT_EQ(find_culprit({ranks, 7000}), 1);
}

// Its bytes are on the way from any of them, and do not come.
TEST(StallReport, CollectiveThatAllHaveBegun) {
  std::vector<SeenRank> ranks = four();
  ranks[1].status->groups[1].collectives = 25;
  EXPECT_NE(stall_report({ranks}).find("rank 1 (begun too): all-reduce #24 of data, 6.0 s"),
            std::string::npos);
}

TEST(StallReport, OfThoseThatWaitForNobodyTheLongest) {
  std::vector<SeenRank> ranks = four();
  ranks[0].status->waits_for = {};
  ranks[0].status->doing_since_ms = kNow - 100;
  EXPECT_EQ(find_culprit({ranks}), 1);
  ranks[0].status->doing_since_ms = kNow - 9000;
  EXPECT_EQ(find_culprit({ranks}), 0);
}

// Whatever the clock of another host says.
TEST(StallReport, ClocksOfHostsMayDiffer) {
  const std::string alike = stall_report({four()});
  for (const std::int64_t skew_ms : {-3'600'000, -10'000, 10'000, 3'600'000}) {
    std::vector<SeenRank> ranks = four();
    for (SeenRank& seen : ranks) {
      RankStatus& s = *seen.status;
      if (s.rank < 2) continue;
      for (std::int64_t* time : {&s.heartbeat_ms, &s.doing_since_ms, &s.waits_since_ms})
        *time += skew_ms;
    }
    EXPECT_EQ(find_culprit({ranks}), 1);
    EXPECT_EQ(stall_report({ranks}), alike);
    // Of two that wait for nobody, one on either host.
    ranks[3].status->waits_for = {};
    EXPECT_EQ(find_culprit({ranks}), 1);
    ranks[3].status->doing_since_ms -= 1000;
    EXPECT_EQ(find_culprit({ranks}), 3);
  }
}

TEST(Heartbeats, AreQuietSinceTheyWereSeenToChange) {
  using namespace std::chrono_literals;
  Heartbeats beats(2);
  const Heartbeats::Clock::time_point begin{1h};
  EXPECT_EQ(beats.look(1, 5, begin), 0ms);
  EXPECT_EQ(beats.look(1, 5, begin + 700ms), 700ms);
  EXPECT_EQ(beats.look(1, 4, begin + 900ms), 0ms) << "a clock that was set back";
  EXPECT_EQ(beats.look(1, 4, begin + 2s), 1100ms);
  EXPECT_EQ(beats.look(0, 4, begin + 2s), 0ms);
}

TEST(StallReport, RanksThatCannotBeSeen) {
  std::vector<SeenRank> ranks = four();
  ranks[1] = {};
  EXPECT_EQ(find_culprit({ranks}), std::nullopt);
  const std::string text = stall_report({ranks});
  EXPECT_NE(text.find("its status cannot be seen from here"), std::string::npos);
  EXPECT_NE(text.find("a rank that cannot be seen holds them up"), std::string::npos);
  EXPECT_NE(text.find("ranks that cannot be seen: all-reduce #24 of data"), std::string::npos);
}

}  // namespace
}  // namespace gradwire
