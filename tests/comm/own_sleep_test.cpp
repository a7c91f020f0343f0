#include "comm/watch/own_sleep.h"

#include <gtest/gtest.h>

namespace gradwire {
namespace {

using namespace std::chrono_literals;

TEST(OwnSleep, IsAPauseThatSchedulingDoesNotExplain) {
  OwnSleep sleep;
  OwnSleep::Clock::time_point now{1h};
  EXPECT_EQ(sleep.look(now), 0s) << "nothing came before";
  EXPECT_EQ(sleep.look(now += 20ms), 0s);
  EXPECT_EQ(sleep.look(now += 900ms), 0s) << "a busy machine";
  EXPECT_EQ(sleep.look(now += 7s), 7s);
  EXPECT_EQ(sleep.look(now += 20ms), 0s) << "counted once";
}

}  // namespace
}  // namespace gradwire
