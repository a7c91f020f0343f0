// The one thread that moves the bytes of a TCP world. Callers hand it operations and sleep until
// they are done; it sleeps in the kernel until there is something to move. A failure ends the
// engine for good: every pending and later call gets its text, and the other ranks are told.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "comm/tcp/channel.h"
#include "comm/tcp/mesh.h"
#include "comm/watch/own_sleep.h"

namespace gradwire {

class TcpEngine {
 public:
  // Meets the other ranks. Errors: kComm, kUsage.
  explicit TcpEngine(const TcpOptions& options);
  // Says goodbye, or why it failed, to the others, for a bounded time. No channel may be in use.
  ~TcpEngine();
  TcpEngine(const TcpEngine&) = delete;
  TcpEngine& operator=(const TcpEngine&) = delete;

  std::shared_ptr<TcpChannel> world() { return world_; }
  WireLedger& ledger() { return ledger_; }

  // The channel of the group `members`, ranks of `parent`, made by its split number `split`.
  std::shared_ptr<TcpChannel> make_part(const TcpChannel& parent, const std::vector<int>& members,
                                        std::uint64_t split);
  void release(const std::shared_ptr<TcpChannel>& channel);

  OperationPtr submit(const std::shared_ptr<TcpChannel>& channel, Call call,
                      const CallOptions& options);
  // Blocks until `op` is done; throws what it failed with.
  void wait(Operation& op);
  // For a handle that is given up: ends the world unless `op` is done.
  void drop(Operation& op);

  void check_alive();
  // Ends the world with `why` on this and all other ranks.
  void abort(const std::string& why);

 private:
  std::shared_ptr<TcpChannel> make_channel(std::uint64_t id, std::vector<int> world_ranks,
                                           int rank);
  void start_peer(int rank, TcpLink link);
  void thread_main();
  std::byte* place_data(int peer, const FrameHeader& header);
  std::byte* place_control(int peer, const FrameHeader& header);
  void heard(int peer, const FrameHeader& header);
  void broken(int peer, const std::string& why);
  void lost(int peer, const std::string& why);
  void tick();
  void check_broken(TcpChannel::Clock::time_point now);
  void done(const OperationPtr& op);
  void fail(const std::string& why);
  // Runs `task` on the thread and waits for it.
  template <class F>
  void run(const F& task);
  void say_goodbye();

  const TcpOptions options_;
  WireLedger ledger_;
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> keep_running_;
  boost::asio::steady_timer timer_;
  OwnSleep own_sleep_;  // between two ticks

  // Of the thread alone, once it runs.
  std::deque<TcpPeer> peers_;  // by rank
  std::map<std::uint64_t, std::shared_ptr<TcpChannel>> channels_;
  std::shared_ptr<TcpChannel> world_;

  // Between callers and the thread.
  std::mutex mutex_;
  std::condition_variable to_callers_;
  bool failed_ = false;  // written by the thread alone
  std::string why_;

  std::thread thread_;
};

}  // namespace gradwire
