#include "train/stall/watchdog.h"

#include <filesystem>
#include <future>

#include <gtest/gtest.h>

namespace gradwire {
namespace {

using namespace std::chrono_literals;

// Looks every 100 ms of a clock of its own.
class Looks {
 public:
  // Whether any of `n` looks finds a stall.
  bool look(int n, bool progress, Doing doing = Doing::kAction) {
    bool stalled = false;
    for (int i = 0; i < n; ++i) {
      if (progress) ++status_.progress;
      status_.doing = doing;
      now_ += 100ms;
      stalled |= detector_.look(status_, now_);
    }
    return stalled;
  }
  bool look_after(std::chrono::milliseconds pause) {
    now_ += pause - 100ms;
    return look(1, false);
  }

 private:
  StallDetector detector_{1000ms, 100ms};
  RankStatus status_;
  StallDetector::Clock::time_point now_ = StallDetector::Clock::time_point(1h);
};

TEST(StallDetector, ProgressIsNoStall) {
  Looks looks;
  EXPECT_FALSE(looks.look(100, true));
  EXPECT_FALSE(looks.look(9, false));
  EXPECT_FALSE(looks.look(1, true));
  EXPECT_FALSE(looks.look(9, false));
  EXPECT_TRUE(looks.look(1, false));
}

TEST(StallDetector, NothingCountsBetweenSteps) {
  Looks looks;
  EXPECT_FALSE(looks.look(100, false, Doing::kBetweenSteps));
  EXPECT_FALSE(looks.look(9, false));
  EXPECT_TRUE(looks.look(1, false));
}

// A process that was stopped itself gives the others the time to go on.
TEST(StallDetector, OwnPauseIsNoStall) {
  Looks looks;
  EXPECT_FALSE(looks.look(1, true));
  EXPECT_FALSE(looks.look_after(1h));
  EXPECT_FALSE(looks.look(7, false));
  EXPECT_TRUE(looks.look(1, false));
}

TEST(Watchdog, LooksOftenEnough) {
  EXPECT_EQ(look_interval(240s), 1s);
  EXPECT_EQ(look_interval(2s), 200ms);
  EXPECT_EQ(look_interval(10ms), 20ms);
}

TEST(Watchdog, CallsOutOnceAndKeepsTheHeartbeat) {
  const std::string path = testing::TempDir() + "watchdog_board";
  std::int64_t beats = 0;
  StatusBoard board(path, {}, [&] { return beats; });
  board.change([](RankStatus& s, std::int64_t) { s.doing = Doing::kAction; });
  std::promise<void> called;
  int stalls = 0;
  {
    Watchdog dog(
        board, {50ms}, [&] { ++beats; },
        [&] {
          ++stalls;
          called.set_value();
        });
    called.get_future().wait();
  }
  EXPECT_EQ(stalls, 1);
  EXPECT_GT(beats, 1);
  EXPECT_EQ(board.status().heartbeat_ms, beats);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace gradwire
