// The traffic of one MPI communicator: collectives in order, two pieces under way at a time, and
// messages of exchanges beside them. Everything is non-blocking and driven by progress(), from the
// one thread that talks to MPI; no locks here.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include <mpi.h>

#include "comm/mpi/mpi_comm.h"
#include "comm/operation.h"
#include "comm/plan.h"

namespace gradwire {

// Throws Error(kComm) with MPI's own text unless rc is MPI_SUCCESS.
void check_mpi(int rc, const char* function);

class MpiChannel {
 public:
  using Clock = std::chrono::steady_clock;

  // Owns two duplicates of `comm`: one for collectives, one for messages.
  MpiChannel(MPI_Comm comm, const MpiOptions& options);
  MpiChannel(const MpiChannel&) = delete;
  MpiChannel& operator=(const MpiChannel&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  MPI_Comm comm() const { return collectives_; }
  bool idle() const { return active_.empty() && waiting_.empty() && new_exchanges_.empty(); }

  void submit(const OperationPtr& op);
  // Moves what can be moved; adds finished operations to `finished`. True: something moved.
  bool progress(std::vector<OperationPtr>& finished);
  // Throws Error(kComm) for what has not moved for too long, or cannot because ranks disagree.
  void check_stalled(Clock::time_point now);
  // That time does not count as waiting.
  void forgive(Clock::duration slept);
  // Takes back receives that no message has come for.
  void cancel();
  // Gives all operations that are not finished to `unfinished`.
  void abandon(std::vector<OperationPtr>& unfinished);
  void free();

 private:
  struct Waiting {
    OperationPtr op;
    Piece piece;
    std::uint64_t number;  // among the pieces of this channel
  };
  // One piece, or one exchange, whose current round's messages are posted.
  struct Active {
    OperationPtr op;
    std::uint64_t number = 0;
    std::vector<Round> rounds;
    std::size_t round = 0;
    std::vector<MPI_Request> requests;  // receives, then sends, of the current round
    std::vector<char> arrived;          // by request
    std::size_t pending = 0;
    std::vector<std::byte> scratch;
    Clock::time_point moved;
  };

  void activate(Waiting next);
  void start_exchange(OperationPtr op);
  void post_round(Active& a);
  bool progress_one(Active& a);
  void finish_round(Active& a);
  void check_arrival(const Active& a, std::size_t request, const MPI_Status& status) const;
  int tag_of(const Active& a) const;
  std::string missing(const Active& a) const;
  void look_for_other_call(const Active& a) const;

  MPI_Comm collectives_ = MPI_COMM_NULL;
  MPI_Comm messages_ = MPI_COMM_NULL;
  const MpiOptions& options_;
  int rank_ = 0;
  int size_ = 0;
  std::uint64_t sequence_period_ = 1;  // piece numbers in tags wrap around at it
  std::uint64_t pieces_ = 0;
  std::deque<Waiting> waiting_;
  std::deque<OperationPtr> new_exchanges_;
  std::vector<OperationPtr> nothing_to_send_;
  std::list<Active> active_;
  std::size_t active_collectives_ = 0;
  std::vector<std::vector<std::byte>> spare_scratch_;
  std::vector<int> indices_;  // of MPI_Testsome
  std::vector<MPI_Status> statuses_;
};

}  // namespace gradwire
