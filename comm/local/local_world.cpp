#include "comm/local/local_world.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "comm/reduce.h"
#include "core/error.h"

namespace gradwire {
namespace {

void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (to != from && bytes > 0) std::memcpy(to, from, bytes);
}

// In blocks, so that the result is copied to the other ranks while it is in cache.
void all_reduce(const std::vector<const Call*>& calls) {
  constexpr std::int64_t kBlock = 16384;
  const Call& first = *calls.front();
  const std::size_t size = first.element_bytes();
  std::vector<const void*> srcs(calls.size());
  for (std::int64_t begin = 0; begin < first.count; begin += kBlock) {
    const std::size_t at = static_cast<std::size_t>(begin) * size;
    const std::int64_t n = std::min(kBlock, first.count - begin);
    for (std::size_t r = 0; r < calls.size(); ++r)
      srcs[r] = calls[r]->in + at;
    reduce_in_rank_order(first.dtype, first.op, first.out + at, srcs, n);
    for (const Call* call : calls)
      copy_bytes(call->out + at, first.out + at, static_cast<std::size_t>(n) * size);
  }
}

void reduce_scatter(const std::vector<const Call*>& calls) {
  const Call& first = *calls.front();
  const std::int64_t part = first.count / static_cast<std::int64_t>(calls.size());
  const std::size_t part_bytes = static_cast<std::size_t>(part) * first.element_bytes();
  std::vector<const void*> srcs(calls.size());
  for (std::size_t to = 0; to < calls.size(); ++to) {
    for (std::size_t from = 0; from < calls.size(); ++from)
      srcs[from] = calls[from]->in + to * part_bytes;
    reduce_in_rank_order(first.dtype, first.op, calls[to]->out, srcs, part);
  }
}

void all_to_all(const std::vector<const Call*>& calls) {
  const std::size_t part_bytes = static_cast<std::size_t>(calls.front()->count) *
                                 calls.front()->element_bytes() / calls.size();
  for (std::size_t to = 0; to < calls.size(); ++to) {
    for (std::size_t from = 0; from < calls.size(); ++from)
      copy_bytes(calls[to]->out + from * part_bytes, calls[from]->in + to * part_bytes, part_bytes);
  }
}

void gather_to_all(const std::vector<const Call*>& calls) {
  const std::size_t bytes =
      static_cast<std::size_t>(calls.front()->count) * calls.front()->element_bytes();
  for (const Call* to : calls) {
    for (std::size_t from = 0; from < calls.size(); ++from)
      copy_bytes(to->out + from * bytes, calls[from]->in, bytes);
  }
}

void broadcast(const std::vector<const Call*>& calls) {
  const Call& root = *calls[static_cast<std::size_t>(calls.front()->root)];
  for (const Call* to : calls)
    copy_bytes(to->out, root.in, static_cast<std::size_t>(root.count) * root.element_bytes());
}

}  // namespace

LocalWorld::LocalWorld(int ranks, std::chrono::milliseconds timeout) : timeout_(timeout) {
  if (ranks < 1) throw Error(ErrorKind::kUsage, fmt::format("a world of {} ranks", ranks));
  wake_.resize(static_cast<std::size_t>(ranks));
  ledgers_.resize(static_cast<std::size_t>(ranks));
}

void LocalWorld::fail(int world_rank, const std::string& why) {
  if (origin_) return;
  origin_ = world_rank;
  why_ = why;
  for (std::condition_variable& w : wake_)
    w.notify_all();
}

void LocalWorld::throw_if_failed() const {
  if (origin_) throw Error(ErrorKind::kComm, why_);
}

bool LocalWorld::wait(std::unique_lock<std::mutex>& lock, int world_rank,
                      const std::function<bool()>& done, const std::function<bool()>& busy) {
  constexpr std::chrono::milliseconds kSlice(100);
  const auto ready = [&] { return done() || (origin_ && !busy()); };
  std::condition_variable& wake = wake_[static_cast<std::size_t>(world_rank)];
  // In slices, so that a process that was stopped has waited for one of them at most.
  for (std::chrono::milliseconds left = timeout_; left.count() > 0; left -= kSlice)
    if (wake.wait_for(lock, std::min(left, kSlice), ready)) return true;
  return ready();
}

void move_data(const std::vector<const Call*>& calls) {
  switch (calls.front()->kind) {
    case CallKind::kAllReduce: return all_reduce(calls);
    case CallKind::kReduceScatter: return reduce_scatter(calls);
    case CallKind::kAllGather:
    case CallKind::kSplit: return gather_to_all(calls);
    case CallKind::kAllToAll: return all_to_all(calls);
    case CallKind::kBroadcast: return broadcast(calls);
    case CallKind::kExchange:
    case CallKind::kBarrier: return;
  }
}

}  // namespace gradwire
