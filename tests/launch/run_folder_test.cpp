#include "launch/start/run_folder.h"

#include <filesystem>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "comm/local/local_comm.h"
#include "core/context.h"
#include "tests/support/temp_folder.h"

namespace gradwire {
namespace {

using namespace std::chrono_literals;
using test::TempFolder;

// What each of three ranks throws, with its kind; empty if nothing is thrown.
std::vector<std::string> complaints(ErrorKind kind, const std::function<void(Coordinator&)>& work) {
  std::vector<std::string> all(3);
  run_ranks(3, [&](Communicator& comm) {
    Runtime runtime;
    const auto ranks = make_coordinator(runtime.context(), comm);
    try {
      work(*ranks);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), kind);
      all[static_cast<std::size_t>(comm.rank())] = e.what();
    }
  });
  return all;
}

const auto kNeverStops = [] { return false; };
const auto kSilent = [](const std::string&) {};

TEST(RunFolder, OneFolderForAllRanks) {
  const TempFolder temp;
  EXPECT_THAT(complaints(ErrorKind::kConfig,
                         [&](Coordinator& ranks) {
                           RunFolder folder(ranks, temp.file("run"), kSilent);
                           EXPECT_TRUE(folder.take(kNeverStops));
                           ranks.all_gather("");  // rank 0 gives it back
                         }),
              testing::Each(""));
}

TEST(RunFolder, AnotherRunEndsEveryRankAndIsNamed) {
  const TempFolder temp;
  RunLease other(temp.file("run"));
  ASSERT_EQ(other.take(), RunLease::Answer::kTaken);
  EXPECT_THAT(complaints(ErrorKind::kConfig,
                         [&](Coordinator& ranks) {
                           RunFolder(ranks, temp.file("run"), kSilent).take(kNeverStops);
                         }),
              testing::Each(testing::HasSubstr("is in use by " + to_text(this_process()))));
}

TEST(RunFolder, AStopEndsTheWaitForAHeartbeat) {
  const TempFolder temp;
  LeaseHolder elsewhere = this_process();
  elsewhere.host = "elsewhere";
  RunLease other(temp.file("run"), {.own = elsewhere});
  ASSERT_EQ(other.take(), RunLease::Answer::kTaken);
  std::string said;
  complaints(ErrorKind::kConfig, [&](Coordinator& ranks) {
    int looks = 0;
    RunFolder folder(ranks, temp.file("run"), [&](const std::string& line) {
      if (ranks.rank() == 0) said += line;
    });
    EXPECT_FALSE(folder.take([&] { return ranks.rank() == 2 && ++looks > 2; }));
  });
  EXPECT_THAT(said, testing::HasSubstr("waiting for a heartbeat"));
}

TEST(RunFolder, RanksThatDoNotSeeTheFolderOfRank0AreNamed) {
  const TempFolder temp;
  RunLease elsewhere(temp.file("own-2"));
  ASSERT_EQ(elsewhere.take(), RunLease::Answer::kTaken);
  RunLease lease(temp.file("own-0"));
  ASSERT_EQ(lease.take(), RunLease::Answer::kTaken);
  const auto all = complaints(ErrorKind::kConfig, [&](Coordinator& ranks) {
    const std::string own = temp.file("own-" + std::to_string(ranks.rank()));
    check_shared(ranks, own, lease.nonce(), 50ms);
  });
  EXPECT_THAT(all, testing::Each(testing::HasSubstr("run.dir must be shared by all ranks")));
  EXPECT_THAT(all, testing::Each(testing::HasSubstr("ranks 1 to 2 see there")));
}

TEST(RunFolder, ACheckpointThatDoesNotFitEndsEveryRank) {
  const TempFolder temp;
  const auto room = static_cast<std::int64_t>(std::filesystem::space(temp.path()).available);
  EXPECT_THAT(complaints(ErrorKind::kIo,
                         [&](Coordinator& ranks) { check_room(ranks, temp.path(), room / 2); }),
              testing::Each(testing::HasSubstr("a checkpoint takes")));
  EXPECT_THAT(complaints(ErrorKind::kIo,
                         [&](Coordinator& ranks) { check_room(ranks, temp.path(), room / 16); }),
              testing::Each(""));
}

}  // namespace
}  // namespace gradwire
