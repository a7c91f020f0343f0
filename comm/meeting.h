// What ranks heed while they wait for each other to come, over whichever transport.
#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <string>

namespace gradwire {

struct MeetingHooks {
  // Asked several times a second, on another thread as well: true ends the wait of all ranks, with
  // MeetingStopped. Empty: never.
  std::function<bool()> stop_requested{};
  // Told, on another thread as well, who lets the others wait. Empty: nobody wants to know.
  std::function<void(const std::string&)> say{};

  bool stop() const { return stop_requested && stop_requested(); }
  void tell(const std::string& text) const {
    if (say) say(text);
  }
};

// The wait for the other ranks has ended because a stop was requested, here or on another rank.
class MeetingStopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped on request while ranks met"; }
};

// How often who waits looks around, says that it lives, and begins to wonder about another's
// silence. Silence alone is named and waited for: it may be the network's pause.
constexpr std::chrono::milliseconds kMeetingTick(100);
constexpr std::chrono::milliseconds kMeetingPulse(1000);
constexpr std::chrono::milliseconds kMeetingSilence(5000);
// Ranks that a launcher starts together have all come before.
constexpr std::chrono::seconds kMeetingLong(10);
// For rank 0 to confirm a stop that another rank was asked for.
constexpr std::chrono::seconds kMeetingStop(3);

}  // namespace gradwire
