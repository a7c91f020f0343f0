// What each rank of a run is at, in a small file per rank that is mapped into memory: kept up to
// date by plain stores, without a system call, and there for others to read even while the process
// itself is stopped. A board owns its file and mapping; read_status() reads any rank's. Ranks of
// other hosts see it if they share the folder, as old as the last flush().
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "comm/call_observer.h"
#include "parallel/pipeline/schedule.h"

namespace gradwire {

enum class Doing : std::uint8_t { kBetweenSteps, kBegin, kAction, kGradients, kAgreement, kUpdate };

// One of the rank's communicators. Its name and its first rank make it known to the others.
struct GroupStatus {
  std::array<char, 12> name{};
  std::int32_t first = 0;         // rank of the world
  std::uint64_t collectives = 0;  // sequence number of the next one
};

// A call; the group is an index into RankStatus::groups.
struct CallStatus {
  std::int32_t group = -1;  // none
  CallKind kind = CallKind::kBarrier;
  std::uint64_t sequence = 0;
  std::int32_t peer = CallNote::kAll;  // rank of the world
};

// Copied as bytes. Times are milliseconds of the system clock.
struct RankStatus {
  std::array<char, 64> host{};
  std::int32_t rank = 0;
  std::int32_t pid = 0;
  std::int64_t heartbeat_ms = 0;  // of the watchdog's own thread: old if the process is stopped
  std::uint64_t progress = 0;     // grows with everything below
  std::int64_t step = 0;
  Doing doing = Doing::kBetweenSteps;
  Action action;
  std::int64_t doing_since_ms = 0;
  std::int32_t group_count = 0;
  std::array<GroupStatus, 4> groups{};
  CallStatus last_collective;
  CallStatus waits_for;  // no group: for nothing
  std::int64_t waits_since_ms = 0;
};

struct StatusPage;  // a file's content

using MillisecondClock = std::function<std::int64_t()>;
std::int64_t system_ms();

class StatusBoard {
 public:
  // Makes the file, with its blocks, so that a full disk is met here and not in a store. Errors:
  // kIo.
  StatusBoard(const std::string& path, const RankStatus& begin, MillisecondClock now = system_ms);
  ~StatusBoard();
  StatusBoard(const StatusBoard&) = delete;
  StatusBoard& operator=(const StatusBoard&) = delete;

  // change(status, now in ms). Any thread.
  template <class F>
  void change(const F& f) {
    const std::lock_guard lock(mutex_);
    f(status_, now_());
    publish();
  }
  RankStatus status() const;
  std::int64_t now_ms() const { return now_(); }
  // Writes it through to a file server.
  void flush() noexcept;

 private:
  void publish() noexcept;

  mutable std::mutex mutex_;
  RankStatus status_;
  MillisecondClock now_;
  StatusPage* page_ = nullptr;
};

// Nothing if there is no board, or none that this program can read.
std::optional<RankStatus> read_status(const std::string& path);

std::string status_path(const std::string& dir, int rank);  // DIR/rank-00003

}  // namespace gradwire
