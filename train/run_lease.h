// The lease of a run's folder: one run at a time writes there. It is a small text file that names
// the process which holds it and counts that process's heartbeats. It needs no lock service and no
// flock(), which network file systems may lack: a lease comes into being whole by link(), which one
// of several does, and a lease that is stale is followed by one whose name is made of the nonce of
// the stale one, so that of all who find it stale one follows.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace gradwire {

// A process, known beyond the reuse of its number. Numbers of processes can only be looked up if
// host name, boot and namespace of processes are the same.
struct LeaseHolder {
  std::string nonce;  // of the lease
  std::string host;
  std::string boot;       // identity of the host's boot
  std::string space;      // of process numbers: "pid:[4026531836]"
  int process = 0;        // its number
  std::string started{};  // of the process, in clock ticks after the boot
};

// This process, with a new nonce.
LeaseHolder this_process();
// "process 4711 on node3"
std::string to_text(const LeaseHolder& holder);

class RunLease {
 public:
  struct Options {
    std::chrono::milliseconds beat{5000};  // between heartbeats
    // Without a heartbeat, by the clock of the process that waits for one, after which a holder
    // that cannot be looked up counts as gone.
    std::chrono::milliseconds silence{30000};
    LeaseHolder own = this_process();
  };

  RunLease(std::string folder, Options options);
  explicit RunLease(std::string folder) : RunLease(std::move(folder), Options()) {}
  // Gives the lease back, and removes the folder if this object made it and nothing is in it.
  ~RunLease();
  RunLease(const RunLease&) = delete;
  RunLease& operator=(const RunLease&) = delete;

  enum class Answer : std::uint8_t {
    kTaken,  // it is held by this object
    kHeld,   // by a process that lives
    kWait,   // by one that may be gone: ask again soon, until the silence is over
  };
  // Takes the lease if nobody has it or its holder is gone: that process does not run any more, or
  // has been silent for so long. Makes the folder. Errors: kIo, and kConfig if this user may not
  // write there.
  Answer take();
  // The process that has the lease, or had it before this one took it over; after take().
  const std::optional<LeaseHolder>& holder() const { return holder_; }
  const std::string& nonce() const { return options_.own.nonce; }

  // From now on a thread shows that this process lives. `on_lost` is called there, once, if another
  // has taken the lease over, as after a long suspension of this process: it must end without
  // another write. A lease that was deleted is made anew.
  void keep(std::function<void(const LeaseHolder& by)> on_lost);

 private:
  bool create(const std::string& path);
  bool leads_here() const;
  bool can_look_up(const LeaseHolder& holder) const;
  // kTaken: it may be taken over.
  Answer ask_after(const LeaseHolder& holder, const std::string& text);
  // Gives the process that has taken the lease over.
  std::optional<LeaseHolder> beat();
  void live(const std::function<void(const LeaseHolder&)>& on_lost);
  void give_back();

  std::string folder_;
  Options options_;
  std::string path_;  // of the lease while it is held
  std::string made_;  // the topmost folder that take() made
  std::optional<LeaseHolder> holder_;
  std::string seen_;  // the lease that silence is counted for
  std::chrono::steady_clock::time_point since_;
  std::int64_t beats_ = 0;
  std::mutex mutex_;
  std::condition_variable ends_;
  bool ended_ = false;  // with the mutex
  std::thread thread_;
};

// The one that is in force in a folder, if any; for any process.
std::optional<LeaseHolder> lease_in(const std::string& folder);

}  // namespace gradwire
