// Ranks as threads that talk over loopback, as processes on one host would.
#pragma once

#include <algorithm>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "comm/sockets.h"
#include "comm/tcp/tcp_comm.h"
#include "core/error.h"
#include "core/parallel_for.h"

namespace gradwire::test {

// Options of one world on loopback, at a port of its own, by rank.
inline std::vector<TcpOptions> tcp_options(int ranks, TcpOptions common = {}) {
  const Listener listener = listen_on_loopback();
  std::vector<TcpOptions> all(static_cast<std::size_t>(ranks), common);
  for (int r = 0; r < ranks; ++r) {
    TcpOptions& o = all[static_cast<std::size_t>(r)];
    o.rank = r;
    o.size = ranks;
    o.port = listener.port;
    if (r == 0) o.listener = listener.socket;
  }
  return all;
}

// Calls fn on every rank's thread; returns what each rank failed with, empty if it did not.
inline std::vector<std::string> failures_of_tcp_ranks(
    const std::vector<TcpOptions>& options, const std::function<void(Communicator&)>& fn) {
  std::vector<std::string> failures(options.size());
  std::vector<std::jthread> threads;
  for (std::size_t r = 0; r < options.size(); ++r) {
    threads.emplace_back([&, r] {
      set_thread_count(1);
      try {
        TcpWorld world(options[r]);
        fn(world.comm());
      } catch (const Error& e) {
        failures[r] = std::string(name_of(e.kind())) + ": " + e.what();
      } catch (const MeetingStopped& e) {
        failures[r] = e.what();
      }
    });
  }
  threads.clear();
  return failures;
}

// The same for a world in which nothing may fail.
inline void run_tcp_ranks(int ranks, const std::function<void(Communicator&)>& fn,
                          const TcpOptions& common = {}) {
  for (const std::string& failure : failures_of_tcp_ranks(tcp_options(ranks, common), fn)) {
    if (!failure.empty()) throw Error(ErrorKind::kInternal, failure);
  }
}

}  // namespace gradwire::test
