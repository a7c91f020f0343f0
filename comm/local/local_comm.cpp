#include "comm/local/local_comm.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "comm/host_communicator.h"
#include "comm/local/local_world.h"
#include "comm/plan.h"
#include "core/error.h"

namespace gradwire {
namespace {

// A rank's place: in the world, and in the group of one communicator.
struct Place {
  std::shared_ptr<LocalWorld> world;
  std::shared_ptr<LocalGroup> group;
  int rank = 0;

  int world_rank() const { return group->world_ranks[static_cast<std::size_t>(rank)]; }
  int size() const { return static_cast<int>(group->world_ranks.size()); }
  void wake_all() const {
    for (const int r : group->world_ranks)
      world->wake(r);
  }
  // With the mutex held.
  [[noreturn]] void fail(const std::string& why) const {
    world->fail(world_rank(), why);
    world->throw_if_failed();
    throw Error(ErrorKind::kInternal, why);
  }
};

// Waits for `done` like LocalWorld::wait; running out of time fails the world with `late`().
void wait_or_fail(const Place& place, std::unique_lock<std::mutex>& lock,
                  const std::function<bool()>& done, const std::function<bool()>& busy,
                  const std::function<std::string()>& late) {
  const bool in_time = place.world->wait(lock, place.world_rank(), done, busy);
  if (done()) return;
  place.world->throw_if_failed();
  if (!in_time) {
    place.fail(fmt::format("timeout: rank {} waited {} ms for {}", place.rank,
                           place.world->timeout().count(), late()));
  }
}

// Blocks until nobody moves data through this rank's memory any more. True: the operation was done.
bool let_go(const Place& place, std::unique_lock<std::mutex>& lock,
            const std::function<bool()>& done, const std::function<bool()>& busy) {
  while (!done() && busy())
    place.world->wait(
        lock, place.world_rank(), [&] { return done() || !busy(); }, busy);
  return done();
}

class CollectiveWork final : public Work {
 public:
  CollectiveWork(Place place, Call call) : place_(std::move(place)), call_(std::move(call)) {}
  ~CollectiveWork() override {
    if (!slot_) return;
    std::unique_lock lock(place_.world->mutex);
    if (let_go(place_, lock, done_, busy_)) return;
    slot_->calls[static_cast<std::size_t>(place_.rank)] = nullptr;
    place_.world->fail(place_.world_rank(), fmt::format("rank {} dropped {} before it was done",
                                                        place_.rank, describe(call_)));
  }
  CollectiveWork(const CollectiveWork&) = delete;
  CollectiveWork& operator=(const CollectiveWork&) = delete;

  void arrive() {
    std::unique_lock lock(place_.world->mutex);
    place_.world->throw_if_failed();
    const auto [entry, fresh] = place_.group->slots.try_emplace(call_.sequence);
    if (fresh) {
      entry->second = std::make_shared<LocalSlot>();
      entry->second->calls.resize(static_cast<std::size_t>(place_.size()));
    }
    check_same(*entry->second);
    slot_ = entry->second;
    slot_->calls[static_cast<std::size_t>(place_.rank)] = &call_;
    if (++slot_->arrived < place_.size()) return;
    place_.group->slots.erase(entry);
    slot_->moving = true;
    lock.unlock();
    std::exception_ptr failure;
    try {
      move_data(slot_->calls);
    } catch (const std::exception&) {
      failure = std::current_exception();
    }
    lock.lock();
    slot_->moving = false;  // nobody may wait for it any more
    if (failure) {
      slot_->calls[static_cast<std::size_t>(place_.rank)] = nullptr;
      slot_ = nullptr;
      place_.world->fail(place_.world_rank(),
                         fmt::format("rank {} failed in {}", place_.rank, describe(call_)));
      std::rethrow_exception(failure);
    }
    slot_->done = true;
    place_.wake_all();
  }

  void wait(Stream) override {
    std::unique_lock lock(place_.world->mutex);
    wait_or_fail(place_, lock, done_, busy_, [&] {
      std::vector<int> missing;
      for (int r = 0; r < place_.size(); ++r) {
        if (slot_->calls[static_cast<std::size_t>(r)] == nullptr) missing.push_back(r);
      }
      return fmt::format("{}: no sign of rank {}", describe(call_), fmt::join(missing, ", "));
    });
  }

 private:
  void check_same(const LocalSlot& slot) const {
    for (int r = 0; r < place_.size(); ++r) {
      const Call* other = slot.calls[static_cast<std::size_t>(r)];
      if (other == nullptr || matches(*other, call_)) continue;
      place_.fail(fmt::format("ranks disagree: rank {} calls {}, rank {} calls {}", r,
                              describe(*other), place_.rank, describe(call_)));
    }
  }

  Place place_;
  Call call_;
  std::shared_ptr<LocalSlot> slot_;
  std::function<bool()> done_ = [this] { return slot_->done; };
  std::function<bool()> busy_ = [this] { return slot_->moving; };
};

class ExchangeWork final : public Work {
 public:
  ExchangeWork(Place place, Call call) : place_(std::move(place)), call_(std::move(call)) {}
  ~ExchangeWork() override {
    std::unique_lock lock(place_.world->mutex);
    if (let_go(place_, lock, done_, busy_)) return;
    place_.world->fail(place_.world_rank(), fmt::format("rank {} dropped {} before it was done",
                                                        place_.rank, describe(call_)));
  }
  ExchangeWork(const ExchangeWork&) = delete;
  ExchangeWork& operator=(const ExchangeWork&) = delete;

  void post() {
    std::unique_lock lock(place_.world->mutex);
    place_.world->throw_if_failed();
    std::vector<Match> matches;
    for (const P2p& p : call_.group)
      post_one(p, matches);
    for (const Match& m : matches)
      m.send->moving = m.receive->moving = true;
    lock.unlock();
    for (const Match& m : matches) {
      if (m.send->bytes > 0) std::memcpy(m.receive->data, m.send->data, m.send->bytes);
    }
    lock.lock();
    for (const Match& m : matches) {
      m.send->moving = m.receive->moving = false;
      m.send->done = m.receive->done = true;
      place_.world->wake(m.peer_world_rank);
    }
  }

  void wait(Stream) override {
    std::unique_lock lock(place_.world->mutex);
    wait_or_fail(place_, lock, done_, busy_, [&] {
      std::vector<int> silent;
      for (std::size_t i = 0; i < own_.size(); ++i) {
        if (!own_[i]->done) silent.push_back(call_.group[i].peer);
      }
      return fmt::format("{}: no message between it and rank {}", describe(call_),
                         fmt::join(silent, ", "));
    });
  }

 private:
  struct Match {
    std::shared_ptr<LocalMessage> send, receive;
    int peer_world_rank;
  };

  void post_one(const P2p& p, std::vector<Match>& matches) {
    const bool sends = p.dir == P2p::Dir::kSend;
    const auto ends = sends ? std::pair(place_.rank, p.peer) : std::pair(p.peer, place_.rank);
    auto& theirs = (sends ? place_.group->receives : place_.group->sends)[ends];
    auto mine = std::make_shared<LocalMessage>();
    mine->data = static_cast<std::byte*>(p.buffer.raw());
    mine->bytes = p.buffer.bytes();
    own_.push_back(mine);
    if (theirs.empty()) {
      (sends ? place_.group->sends : place_.group->receives)[ends].push_back(mine);
      return;
    }
    const std::shared_ptr<LocalMessage> other = theirs.front();
    theirs.pop_front();
    Match m{sends ? mine : other, sends ? other : mine,
            place_.group->world_ranks[static_cast<std::size_t>(p.peer)]};
    if (m.send->bytes != m.receive->bytes) {
      place_.fail(fmt::format("exchange: rank {} sends {} bytes to rank {}, which expects {}",
                              ends.first, m.send->bytes, ends.second, m.receive->bytes));
    }
    matches.push_back(std::move(m));
  }

  Place place_;
  Call call_;
  std::vector<std::shared_ptr<LocalMessage>> own_;
  std::function<bool()> done_ = [this] {
    return std::all_of(own_.begin(), own_.end(), [](const auto& m) { return m->done; });
  };
  std::function<bool()> busy_ = [this] {
    return std::any_of(own_.begin(), own_.end(), [](const auto& m) { return m->moving; });
  };
};

class LocalComm final : public HostCommunicator {
 public:
  explicit LocalComm(Place place) : place_(std::move(place)) {}
  int rank() const override { return place_.rank; }
  int size() const override { return place_.size(); }
  std::string describe() const override {
    return fmt::format("threads of one process, {} ranks", size());
  }
  WireLedger& ledger() override { return place_.world->ledger(place_.world_rank()); }

  void abort(const std::string& why) noexcept override {
    const std::lock_guard lock(place_.world->mutex);
    place_.world->fail(place_.world_rank(), why);
  }

 protected:
  std::unique_ptr<Communicator> make_part(const std::vector<int>& members,
                                          std::uint64_t split) override {
    if (members.empty()) return nullptr;
    const std::lock_guard lock(place_.world->mutex);
    std::weak_ptr<LocalGroup>& entry = place_.group->parts[{split, members.front()}];
    std::shared_ptr<LocalGroup> part = entry.lock();
    if (!part) {
      part = std::make_shared<LocalGroup>();
      for (const int r : members)
        part->world_ranks.push_back(place_.group->world_ranks[static_cast<std::size_t>(r)]);
      entry = part;
    }
    const auto here = std::find(members.begin(), members.end(), place_.rank);
    return std::make_unique<LocalComm>(
        Place{place_.world, std::move(part), static_cast<int>(here - members.begin())});
  }

  void check_alive() override {
    const std::lock_guard lock(place_.world->mutex);
    place_.world->throw_if_failed();
  }

  WorkPtr start(Call call, const CallOptions& options) override {
    const SentOnWire sent = sent_by(call, rank(), size());
    ledger().add(options.traffic, sent.bytes,
                 options.dense_bytes < 0 ? sent.bytes : options.dense_bytes, sent.messages);
    if (call.kind == CallKind::kExchange) {
      auto work = std::make_unique<ExchangeWork>(place_, std::move(call));
      work->post();
      return work;
    }
    auto work = std::make_unique<CollectiveWork>(place_, std::move(call));
    work->arrive();
    return work;
  }

 private:
  Place place_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_local_ranks(
    const std::shared_ptr<LocalWorld>& world) {
  auto group = std::make_shared<LocalGroup>();
  for (int r = 0; r < world->size(); ++r)
    group->world_ranks.push_back(r);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int r = 0; r < world->size(); ++r)
    ranks.push_back(std::make_unique<LocalComm>(Place{world, group, r}));
  return ranks;
}

std::vector<std::unique_ptr<Communicator>> make_local_world(int n, LocalOptions options) {
  return make_local_ranks(std::make_shared<LocalWorld>(n, options.timeout));
}

}  // namespace gradwire
