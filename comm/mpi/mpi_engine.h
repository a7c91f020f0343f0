// The one thread that talks to MPI, from MPI_Init to MPI_Finalize. Callers hand it operations and
// sleep until they are done; it keeps all channels moving, so that communication overlaps with
// whatever the other threads compute. When nothing moves it naps instead of spinning.
// A failure ends the engine for good: every pending and later call gets its text, and the other
// ranks are told.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <mpi.h>

#include "comm/mpi/mpi_channel.h"

namespace gradwire {

class MpiEngine {
 public:
  // Starts MPI. Errors: kComm, kUsage if MPI is running or has run already.
  explicit MpiEngine(MpiOptions options);
  // Finalises MPI unless something failed. No channel may be in use any more.
  ~MpiEngine();
  MpiEngine(const MpiEngine&) = delete;
  MpiEngine& operator=(const MpiEngine&) = delete;

  const std::string& library() const { return library_; }  // "Open MPI v4.1.4"
  const std::shared_ptr<MpiChannel>& world() const { return world_; }
  WireLedger& ledger() { return ledger_; }

  // The channel of the group `members`, ranks of `parent`; null if there are none. Collective over
  // the parent.
  std::shared_ptr<MpiChannel> split(const MpiChannel& parent, const std::vector<int>& members);
  void release(const std::shared_ptr<MpiChannel>& channel);

  OperationPtr submit(MpiChannel& channel, Call call, const CallOptions& options);
  // Blocks until `op` is done; throws what it failed with.
  void wait(Operation& op);
  // For a handle that is given up: ends the world unless `op` is done.
  void drop(Operation& op);

  void check_alive();
  // Ends the world with `why` on this and all other ranks.
  void abort(const std::string& why);

 private:
  struct Submission {
    MpiChannel* channel;
    OperationPtr op;
  };
  void thread_main();
  void start_mpi();
  void loop();
  bool take_work();
  bool progress();
  void nap(int idle_turns);
  void hear_notes();
  void fail(const std::string& why, bool tell_others);
  void tell_others(const std::string& why);
  void finish_mpi();
  // Runs `task` on the engine's thread and waits for it, for a bounded time.
  void run(std::function<void()> task);
  // Waits for `done` under the lock, as long as the thread shows signs of life.
  void wait_for_thread(std::unique_lock<std::mutex>& lock, const std::function<bool()>& done);

  const MpiOptions options_;
  std::string library_;
  WireLedger ledger_;

  // Of the thread alone.
  std::shared_ptr<MpiChannel> world_;
  std::vector<std::shared_ptr<MpiChannel>> channels_;
  MPI_Comm notes_ = MPI_COMM_NULL;  // carries the reason of an abort
  MPI_Request note_request_ = MPI_REQUEST_NULL;
  std::vector<char> note_;
  std::vector<OperationPtr> finished_;

  // Between callers and the thread.
  std::mutex mutex_;
  std::condition_variable to_thread_, to_callers_;
  std::vector<Submission> submissions_;
  std::vector<std::function<void()>> tasks_;
  bool started_ = false;
  bool stopping_ = false;
  bool failed_ = false;
  std::string why_;
  std::atomic<std::uint64_t> turns_ = 0;  // of the loop: a sign of life

  std::thread thread_;
};

}  // namespace gradwire
