#include "launch/start/waiting_note.h"

#include <atomic>
#include <future>

#include <gtest/gtest.h>

namespace gradwire {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

TEST(WaitingNote, IsSaidOnceTheTimeIsUp) {
  std::promise<std::string> said;
  const WaitingNote note(milliseconds(1), "still here",
                         [&](const std::string& text) { said.set_value(text); });
  EXPECT_EQ(said.get_future().get(), "still here");
}

TEST(WaitingNote, IsNotSaidBefore) {
  std::atomic<bool> said = false;
  {
    const WaitingNote note(hours(1), "still here", [&](const std::string&) { said = true; });
  }
  {
    const WaitingNote nothing(milliseconds(0), "", [&](const std::string&) { said = true; });
  }
  EXPECT_FALSE(said);
}

}  // namespace
}  // namespace gradwire
