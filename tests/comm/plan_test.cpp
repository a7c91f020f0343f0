// Plans of all ranks carried out in memory, beside a plain loop, and what they send beside what is
// said of it.
#include "comm/plan.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "comm/staged_gather.h"

namespace gradwire {
namespace {

using Floats = std::vector<float>;

struct RankState {
  Floats in, out;
  Call call;
  std::vector<std::byte> scratch;
  std::vector<Round> rounds;
  SentOnWire sent;
};

// All ranks' rounds, one after the other. Messages between two ranks keep their order.
void carry_out(std::vector<RankState>& ranks) {
  for (std::size_t round = 0; round < ranks.front().rounds.size(); ++round) {
    std::map<std::pair<int, int>, std::vector<std::vector<std::byte>>> under_way;
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      for (const Transfer& t : ranks[r].rounds[round].sends) {
        under_way[{static_cast<int>(r), t.peer}].emplace_back(t.data, t.data + t.bytes);
        ranks[r].sent += {static_cast<std::int64_t>(t.bytes), 1};
      }
    }
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      for (const Transfer& t : ranks[r].rounds[round].receives) {
        auto& messages = under_way[{t.peer, static_cast<int>(r)}];
        ASSERT_FALSE(messages.empty()) << "rank " << r << " waits for rank " << t.peer;
        ASSERT_EQ(messages.front().size(), t.bytes);
        std::ranges::copy(messages.front(), t.data);
        messages.erase(messages.begin());
      }
    }
    for (const auto& [ends, messages] : under_way)
      EXPECT_TRUE(messages.empty()) << "nobody takes what rank " << ends.first << " sends";
    for (RankState& rank : ranks)
      if (rank.rounds[round].then) rank.rounds[round].then();
  }
}

// Every rank's call, of `count` elements, which begins with what is told apart by rank and place.
std::vector<RankState> ranks_of(CallKind kind, int n, std::int64_t count, int root = 0) {
  std::vector<RankState> ranks(static_cast<std::size_t>(n));
  for (int r = 0; r < n; ++r) {
    RankState& rank = ranks[static_cast<std::size_t>(r)];
    const bool spreads = kind == CallKind::kAllGather;
    rank.in.resize(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < rank.in.size(); ++i)
      rank.in[i] = static_cast<float>(r) + static_cast<float>(i) * 0.37F;
    rank.out = spreads ? Floats(static_cast<std::size_t>(count * n)) : rank.in;
    rank.call.kind = kind;
    rank.call.dtype = DType::kF32;
    rank.call.count = count;
    rank.call.root = root;
    rank.call.out = reinterpret_cast<std::byte*>(rank.out.data());
    rank.call.in = spreads ? reinterpret_cast<std::byte*>(rank.in.data()) : rank.call.out;
    rank.rounds = plan_rounds(rank.call, r, n, {0, count}, rank.scratch);
  }
  return ranks;
}

Floats sum_in_rank_order(const std::vector<RankState>& ranks) {
  Floats sum = ranks.front().in;
  for (std::size_t r = 1; r < ranks.size(); ++r)
    for (std::size_t i = 0; i < sum.size(); ++i)
      sum[i] += ranks[r].in[i];
  return sum;
}

constexpr int kSizes[] = {2, 3, 5, 8, 9, 10, 17, 32, 33, 36, 64, 71};

TEST(Plan, AllReduceIsTheSumInRankOrderAndSendsWhatIsSaid) {
  for (const int n : kSizes) {
    for (const std::int64_t count : {1, 7, 16, 17, 65, 130, 1024, 4096, 4200, 9999}) {
      std::vector<RankState> ranks = ranks_of(CallKind::kAllReduce, n, count);
      carry_out(ranks);
      const Floats want = sum_in_rank_order(ranks);
      std::int64_t most = 0;
      for (int r = 0; r < n; ++r) {
        const RankState& rank = ranks[static_cast<std::size_t>(r)];
        ASSERT_EQ(rank.out, want) << n << " ranks, " << count;
        EXPECT_EQ(rank.sent, sent_by(rank.call, r, n)) << n << " ranks, " << count;
        most = std::max(most, rank.sent.bytes);
      }
      EXPECT_EQ(most, all_reduce_bytes(count, n)) << n << " ranks, " << count;
    }
  }
}

TEST(Plan, AllGatherHasAllPartsInTheirPlaces) {
  for (const int n : kSizes) {
    for (const std::int64_t count : {1, 5, 64, 65}) {
      std::vector<RankState> ranks = ranks_of(CallKind::kAllGather, n, count);
      carry_out(ranks);
      Floats want;
      for (const RankState& rank : ranks)
        want.insert(want.end(), rank.in.begin(), rank.in.end());
      for (int r = 0; r < n; ++r) {
        const RankState& rank = ranks[static_cast<std::size_t>(r)];
        ASSERT_EQ(rank.out, want) << n << " ranks, " << count;
        EXPECT_EQ(rank.sent, sent_by(rank.call, r, n));
      }
    }
  }
}

TEST(Plan, BroadcastGivesWhatTheRootHasAndSendsWhatIsSaid) {
  for (const int n : {2, 3, 9, 40}) {
    for (const std::int64_t count : {1, 7, 65}) {
      std::vector<RankState> ranks = ranks_of(CallKind::kBroadcast, n, count, n - 1);
      carry_out(ranks);
      for (int r = 0; r < n; ++r) {
        EXPECT_EQ(ranks[static_cast<std::size_t>(r)].out, ranks.back().in);
        EXPECT_EQ(ranks[static_cast<std::size_t>(r)].sent,
                  sent_by(ranks[static_cast<std::size_t>(r)].call, r, n));
      }
    }
  }
}

// A rank has heard of another if it was told by it, or by one that had heard of it.
TEST(Plan, NobodyPassesABarrierBeforeAllHaveCome) {
  for (const int n : kSizes) {
    std::vector<RankState> ranks = ranks_of(CallKind::kBarrier, n, 0);
    std::vector<std::vector<bool>> heard(static_cast<std::size_t>(n));
    for (std::size_t r = 0; r < heard.size(); ++r) {
      heard[r].assign(static_cast<std::size_t>(n), false);
      heard[r][r] = true;
    }
    for (std::size_t round = 0; round < ranks.front().rounds.size(); ++round) {
      const auto before = heard;
      for (std::size_t r = 0; r < heard.size(); ++r)
        for (const Transfer& t : ranks[r].rounds[round].receives)
          for (std::size_t i = 0; i < heard.size(); ++i)
            if (before[static_cast<std::size_t>(t.peer)][i]) heard[r][i] = true;
    }
    for (const auto& of_rank : heard)
      EXPECT_EQ(std::ranges::count(of_rank, true), n);
    carry_out(ranks);
    EXPECT_EQ(ranks.front().sent, sent_by(ranks.front().call, 0, n));
  }
}

// 2 (sqrt(n) - 1) messages where there were n - 1.
TEST(Plan, FewWordsTakeFewMessages) {
  const auto messages = [](CallKind kind, std::int64_t count, int n) {
    Call call;
    call.kind = kind;
    call.count = count;
    call.dtype = DType::kF32;
    return sent_by(call, 0, n).messages;
  };
  EXPECT_EQ(messages(CallKind::kAllReduce, 12, 2), 1);
  EXPECT_EQ(messages(CallKind::kAllReduce, 17, 2), 2);
  EXPECT_EQ(messages(CallKind::kAllReduce, 12, 8), 7);
  EXPECT_EQ(messages(CallKind::kAllReduce, 12, 16), 6);
  EXPECT_EQ(messages(CallKind::kAllReduce, 12, 64), 14);
  EXPECT_EQ(messages(CallKind::kAllGather, 12, 32), 31);
  EXPECT_EQ(messages(CallKind::kAllGather, 12, 64), 14);
  EXPECT_EQ(messages(CallKind::kBarrier, 0, 64), 14);
  EXPECT_EQ(messages(CallKind::kAllReduce, 4096, 64), 63 + 14);
  EXPECT_EQ(messages(CallKind::kAllReduce, 1 << 20, 64), 2 * 63);
}

}  // namespace
}  // namespace gradwire
