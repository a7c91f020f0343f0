// What the ranks of a LocalComm world share: one lock, one wake-up per rank, the calls that wait
// for partners, and the failure that ends them all. Data moves outside the lock.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/call.h"

namespace gradwire {

// One collective of one group, from the first rank's arrival to the last one's wait.
struct LocalSlot {
  std::vector<const Call*> calls;  // by rank of the group; null: not arrived
  int arrived = 0;
  bool moving = false;  // a rank is moving the data, without the lock
  bool done = false;
};

// One message of an exchange, from either side.
struct LocalMessage {
  std::byte* data = nullptr;
  std::size_t bytes = 0;
  bool moving = false;
  bool done = false;
};

// The ranks of one communicator.
struct LocalGroup {
  std::vector<int> world_ranks;
  std::map<std::uint64_t, std::shared_ptr<LocalSlot>> slots;
  // Messages that wait for their other side, by (from, to); all of one kind at any time.
  std::map<std::pair<int, int>, std::deque<std::shared_ptr<LocalMessage>>> sends, receives;
  // What it was split into, by (number of the split, first member).
  std::map<std::pair<std::uint64_t, int>, std::weak_ptr<LocalGroup>> parts;
};

class LocalWorld {
 public:
  // Errors: kUsage for fewer than one rank.
  LocalWorld(int ranks, std::chrono::milliseconds timeout);

  std::mutex mutex;

  // With the mutex held. Only the first failure counts.
  void fail(int world_rank, const std::string& why);
  void throw_if_failed() const;
  void wake(int world_rank) { wake_[static_cast<std::size_t>(world_rank)].notify_all(); }
  // Waits until done(); the failure of the world ends it early unless busy(). False: timed out.
  bool wait(std::unique_lock<std::mutex>& lock, int world_rank, const std::function<bool()>& done,
            const std::function<bool()>& busy);
  // The rank whose failure came first.
  std::optional<int> origin() const { return origin_; }
  int size() const { return static_cast<int>(wake_.size()); }
  std::chrono::milliseconds timeout() const { return timeout_; }
  WireLedger& ledger(int world_rank) { return ledgers_[static_cast<std::size_t>(world_rank)]; }

 private:
  std::chrono::milliseconds timeout_;
  std::deque<std::condition_variable> wake_;
  std::deque<WireLedger> ledgers_;
  std::optional<int> origin_;
  std::string why_;
};

std::vector<std::unique_ptr<Communicator>> make_local_ranks(
    const std::shared_ptr<LocalWorld>& world);

// Moves the data of a collective for which all ranks have arrived.
void move_data(const std::vector<const Call*>& calls);

}  // namespace gradwire
