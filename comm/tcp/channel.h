// The traffic of one TCP communicator: collectives in order, two pieces under way at a time, and
// messages of exchanges beside them. Driven by the messages themselves, on the one thread that runs
// the io_context; no locks here.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "comm/operation.h"
#include "comm/plan.h"
#include "comm/tcp/peer.h"
#include "comm/tcp/tcp_comm.h"

namespace gradwire {

class TcpChannel {
 public:
  using Clock = std::chrono::steady_clock;
  using OnDone = std::function<void(const OperationPtr&)>;

  // The communicator of `world_ranks`, in which this rank is number `rank`; `id` is the same on all
  // of them and no other communicator's. `peers` are by world rank.
  TcpChannel(std::uint64_t id, std::vector<int> world_ranks, int rank, std::deque<TcpPeer>& peers,
             const TcpOptions& options, OnDone on_done);
  TcpChannel(const TcpChannel&) = delete;
  TcpChannel& operator=(const TcpChannel&) = delete;

  std::uint64_t id() const { return id_; }
  int rank() const { return rank_; }
  int size() const { return static_cast<int>(world_ranks_.size()); }
  int world_rank(int r) const { return world_ranks_[static_cast<std::size_t>(r)]; }

  // These throw Error(kComm) for what ranks disagree about, and check_stalled for what has not
  // moved for too long.
  void submit(const OperationPtr& op);
  void check_early(const FrameHeader& sent, int world_peer) const;
  void check_stalled(Clock::time_point now) const;
  // That time does not count as waiting.
  void forgive(Clock::duration slept);
  // Gives all operations that are not finished to `unfinished`.
  void abandon(std::vector<OperationPtr>& unfinished);

 private:
  struct Waiting {
    OperationPtr op;
    Piece piece;
    std::uint64_t number;  // among the pieces of this channel
  };
  // One piece, or one exchange, whose current round's messages are under way.
  struct Active {
    OperationPtr op;
    std::uint64_t number = 0;
    std::vector<Round> rounds;
    std::size_t round = 0;
    std::vector<char> done;  // receives, then sends, of the current round
    std::size_t pending = 0;
    std::vector<std::byte> scratch;
    Clock::time_point moved;
    std::list<Active>::iterator self;
  };

  TcpPeer& peer(int r) { return peers_[static_cast<std::size_t>(world_rank(r))]; }
  Active& add_active(OperationPtr op);
  void start_exchange(const OperationPtr& op);
  void start_waiting();
  void post_round(Active& a);
  void post_messages(Active& a);
  void one_done(Active& a, std::size_t i);
  void settle(Active& a);
  void retire(Active& a);
  FrameHeader header_of(const Active& a, std::size_t bytes) const;
  Inbox::Receive receive_of(Active& a, const FrameHeader& wanted, const Transfer& t, std::size_t i);
  void look_for_other_call(const Active& a) const;
  std::string missing(const Active& a) const;

  const std::uint64_t id_;
  const std::vector<int> world_ranks_;
  const int rank_;
  std::deque<TcpPeer>& peers_;
  const TcpOptions& options_;
  const OnDone on_done_;
  std::uint64_t pieces_ = 0;
  std::vector<std::uint64_t> messages_to_, messages_from_;  // of exchanges, by rank
  std::deque<Waiting> waiting_;
  std::list<Active> active_;
  std::size_t active_collectives_ = 0;
  std::vector<std::vector<std::byte>> spare_scratch_;
};

}  // namespace gradwire
