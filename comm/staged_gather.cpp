#include "comm/staged_gather.h"

#include <algorithm>

namespace gradwire {
namespace {

// A single round is over sooner than two: few ranks tell each other directly.
constexpr int kFewRanks = 8;
// With fewer, the messages that stages save take less than the round that they cost.
constexpr int kManyRanks = 33;

// Of a tensor that is gathered whole: a few numbers. To send them to all ranks takes no longer than
// to handle two messages for each instead of a few altogether.
constexpr std::int64_t kFewBytes = 64;
// Parts that are passed on in stages: of the gradient norm's sketch, if there are many ranks.
constexpr std::int64_t kSmallPart = 512;

std::int64_t bytes_of(const Call& call) {
  return call.count * static_cast<std::int64_t>(call.element_bytes());
}

int first_round_of(int ranks) {
  if (ranks <= kFewRanks) return ranks;
  int k = 1;
  while (k * k < ranks)
    ++k;
  return k;
}

}  // namespace

bool is_gathered_whole(const Call& call) {
  return call.kind == CallKind::kAllReduce && bytes_of(call) <= kFewBytes;
}

bool is_gathered_in_stages(const Call& call, int ranks) {
  if (ranks < kManyRanks) return false;
  switch (call.kind) {
    case CallKind::kAllReduce: return bytes_of(call) <= kSmallPart * ranks;
    case CallKind::kAllGather:
    case CallKind::kSplit: return bytes_of(call) <= kSmallPart;
    case CallKind::kBarrier: return true;
    default: return false;
  }
}

StagedGather::StagedGather(int rank, int ranks, const std::function<std::size_t(int)>& bytes_of)
    : rank_(rank), ranks_(ranks), first_(first_round_of(ranks)), begin_{0} {
  for (int d = 0; d < ranks; ++d)
    begin_.push_back(begin_.back() + bytes_of(before(d)));
}

std::vector<Round> StagedGather::rounds(std::byte* memory, bool with_empty) const {
  const auto add = [&](std::vector<Transfer>& list, int peer, std::size_t begin, std::size_t end) {
    if (end > begin || with_empty) list.push_back({peer, memory + begin, end - begin});
  };
  std::vector<Round> rounds(1);
  for (int d = 1; d < first_; ++d) {
    const auto at = static_cast<std::size_t>(d);
    add(rounds[0].sends, behind(d), begin_[0], begin_[1]);
    add(rounds[0].receives, before(d), begin_[at], begin_[at + 1]);
  }
  if (first_ < ranks_) rounds.emplace_back();
  for (int d = first_; d < ranks_; d += first_) {
    const auto at = static_cast<std::size_t>(d);
    const auto parts = static_cast<std::size_t>(std::min(first_, ranks_ - d));
    add(rounds[1].sends, behind(d), begin_[0], begin_[parts]);
    add(rounds[1].receives, before(d), begin_[at], begin_[at + parts]);
  }
  return rounds;
}

SentOnWire StagedGather::sent() const {
  SentOnWire sent;
  const auto add = [&](std::size_t bytes) {
    if (bytes > 0) sent += {static_cast<std::int64_t>(bytes), 1};
  };
  for (int d = 1; d < first_; ++d)
    add(begin_[1]);
  for (int d = first_; d < ranks_; d += first_)
    add(begin_[static_cast<std::size_t>(std::min(first_, ranks_ - d))]);
  return sent;
}

}  // namespace gradwire
