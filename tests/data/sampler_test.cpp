#include "data/sampler.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "data/permutation.h"
#include "tests/data/temp_folder.h"
#include "tests/data/text.h"

namespace gradwire {
namespace {

using testing_data::counting_file;
using testing_data::expect_error;
using testing_data::TempFolder;

using Rows = std::vector<std::vector<std::int32_t>>;

Rows rows_of(Context& cx, const Tensor& t) {
  EXPECT_EQ(t.dtype(), DType::kI32);
  const std::vector<std::int32_t> flat = t.to_host<std::int32_t>(cx);
  Rows rows;
  for (auto at = flat.begin(); at != flat.end(); at += t.dim(1)) {
    rows.emplace_back(at, at + t.dim(1));
  }
  return rows;
}

class Numbers : public StateVisitor {
 public:
  void tensor(std::string_view, Tensor&, Share) override { ADD_FAILURE() << "no tensor expected"; }
  void slice(std::string_view, Tensor&, std::int64_t, std::int64_t) override {
    ADD_FAILURE() << "no slice expected";
  }
  void number(std::string_view name, std::int64_t& v, Share share) override {
    EXPECT_EQ(share, Share::kReplicated);
    if (loading) {
      v = values.at(std::string(name));
    } else {
      values[std::string(name)] = v;
    }
  }
  void number(std::string_view, double&, Share) override { ADD_FAILURE() << "no float expected"; }
  void text(std::string_view, std::string&, Share) override { ADD_FAILURE() << "no text expected"; }

  bool loading = false;
  std::map<std::string, std::int64_t> values;
};

class Sampler : public ::testing::Test {
 protected:
  Sampler()
      : path_(counting_file(folder_, "a.h5", {1000, 3}, 2000)), file_(TokenFile::open(path_)) {}
  // The global batch of a call: all ranks' rows in the order of the ranks.
  Rows global_batch(std::vector<TrainSampler>& ranks) {
    Rows all;
    for (TrainSampler& rank : ranks) {
      for (auto& row : rows_of(runtime_.context(), rank.next().inputs))
        all.push_back(row);
    }
    return all;
  }
  std::vector<TrainSampler> samplers(int ranks, std::int64_t batch, std::uint64_t seed = 5) {
    std::vector<TrainSampler> all;
    for (int r = 0; r < ranks; ++r) {
      all.emplace_back(runtime_.context(), file_, SamplerConfig{16, batch, seed, r, ranks});
    }
    return all;
  }

  TempFolder folder_;
  std::string path_;
  TokenFile file_;
  Runtime runtime_;
};

TEST(Permutation, IsABijectionForEverySize) {
  for (const std::uint64_t n : {1, 2, 3, 4, 5, 16, 17, 63, 64, 65, 1000, 4096, 4097, 100003}) {
    std::vector<bool> hit(n);
    const Permutation order(n, 42);
    for (std::uint64_t i = 0; i < n; ++i) {
      const std::uint64_t to = order(i);
      ASSERT_LT(to, n);
      ASSERT_FALSE(hit[to]) << n << " " << i;
      hit[to] = true;
    }
  }
}

TEST(Permutation, LooksRandom) {
  constexpr std::uint64_t kN = 10000;
  int fixed = 0, neighbours = 0, agree = 0, rising = 0;
  const Permutation a(kN, 1), b(kN, 2);
  for (std::uint64_t i = 0; i < kN; ++i) {
    fixed += a(i) == i;
    neighbours += a((i + 1) % kN) == a(i) + 1;
    agree += a(i) == b(i);
    rising += a((i + 1) % kN) > a(i);
  }
  // Each of the first three counts is about Poisson(1); the last is kN / 2 within 6 deviations.
  EXPECT_LT(fixed, 10);
  EXPECT_LT(neighbours, 10);
  EXPECT_LT(agree, 10);
  EXPECT_NEAR(rising, kN / 2, 6 * std::sqrt(kN / 12.0));
}

TEST_F(Sampler, TargetsAreInputsOneLater) {
  std::vector<TrainSampler> one = samplers(1, 3);
  for (int step = 0; step < 30; ++step) {
    const Batch batch = one[0].next();
    EXPECT_EQ(batch.inputs.shape(), (Shape{3, 16}));
    EXPECT_EQ(batch.targets_here, 48);
    const Rows inputs = rows_of(runtime_.context(), batch.inputs);
    const Rows targets = rows_of(runtime_.context(), batch.targets);
    for (std::size_t b = 0; b < 3; ++b) {
      for (std::size_t t = 0; t < 16; ++t) {
        ASSERT_EQ(inputs[b][t], inputs[b][0] + static_cast<std::int32_t>(t));
        ASSERT_EQ(targets[b][t], inputs[b][t] + 1);
      }
    }
  }
}

TEST_F(Sampler, AnEpochTakesEverySequenceOnce) {
  std::vector<TrainSampler> one = samplers(1, 1);
  const std::int64_t n = one[0].sequences_per_epoch();
  EXPECT_EQ(n, (1003 - 16) / 16);
  std::vector<std::vector<std::int32_t>> orders;
  std::set<std::int32_t> borders;
  for (int epoch = 0; epoch < 8; ++epoch) {
    std::vector<std::int32_t> order;
    for (std::int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(one[0].epoch(), epoch);
      order.push_back(rows_of(runtime_.context(), one[0].next().inputs)[0][0]);
    }
    std::set<std::int32_t> begins(order.begin(), order.end());
    EXPECT_EQ(static_cast<std::int64_t>(begins.size()), n);
    for (const std::int32_t begin : begins)
      EXPECT_EQ(begin % 16, *begins.begin() % 16);
    EXPECT_LT(*begins.begin(), 16);
    EXPECT_LT(*begins.rbegin() + 16, 1003);
    borders.insert(*begins.begin());
    orders.push_back(order);
  }
  EXPECT_GT(borders.size(), 3u);
  EXPECT_NE(orders[0], orders[1]);
}

TEST_F(Sampler, TheGlobalBatchDoesNotDependOnTheRanks) {
  std::vector<TrainSampler> one = samplers(1, 12);
  std::vector<TrainSampler> two = samplers(2, 6);
  std::vector<TrainSampler> four = samplers(4, 3);
  std::vector<TrainSampler> other = samplers(1, 12, 6);
  // 61 sequences an epoch: batches lie across the ends of epochs.
  for (int step = 0; step < 20; ++step) {
    const Rows expected = global_batch(one);
    EXPECT_EQ(expected, global_batch(two));
    EXPECT_EQ(expected, global_batch(four));
    EXPECT_NE(expected, global_batch(other));
  }
}

TEST_F(Sampler, RanksShareNoSequence) {
  std::vector<TrainSampler> four = samplers(4, 3);
  std::set<std::vector<std::int32_t>> seen;
  for (int step = 0; step < 5; ++step) {
    for (auto& row : global_batch(four))
      EXPECT_TRUE(seen.insert(row).second);
  }
}

// Each rank takes all of its own stretch in an epoch, in another order in the next, and nothing of
// the others'.
TEST_F(Sampler, StretchesOfTheirOwn) {
  constexpr int kRanks = 3;
  Context& cx = runtime_.context();
  const std::int64_t third = file_.tokens() / kRanks;
  std::int64_t end_before = 0;
  for (int r = 0; r < kRanks; ++r) {
    TrainSampler mine(cx, file_, SamplerConfig{16, 2, 5, r, kRanks, /*own_stretch=*/true});
    const std::int64_t per_epoch = mine.sequences_per_epoch() / kRanks;
    EXPECT_EQ(per_epoch, (third - 16) / 16);
    Rows rows;
    for (std::int64_t i = 0; i < per_epoch; ++i) {
      for (const auto& row : rows_of(cx, mine.next().inputs))
        rows.push_back(row);
    }
    EXPECT_EQ(mine.sequences_taken(), 2 * kRanks * per_epoch);
    EXPECT_EQ(mine.epoch(), 2);
    const auto middle = rows.begin() + per_epoch;
    const std::set<std::vector<std::int32_t>> first(rows.begin(), middle);
    EXPECT_EQ(first.size(), static_cast<std::size_t>(per_epoch));
    EXPECT_FALSE(std::equal(rows.begin(), middle, middle));
    std::int32_t least = 1 << 30, most = 0;
    for (const auto& row : rows) {
      least = std::min(least, row.front());
      most = std::max(most, row.back());
    }
    EXPECT_GE(least, end_before);
    EXPECT_LE(most - least, third + 1);
    end_before = most;
  }
  EXPECT_THROW(TrainSampler(cx, file_, SamplerConfig{900, 2, 5, 0, kRanks, true}), Error);
}

TEST_F(Sampler, ResumesExactly) {
  std::vector<TrainSampler> straight = samplers(2, 3);
  for (int step = 0; step < 13; ++step)
    global_batch(straight);
  Numbers state;
  straight[0].visit_state(state);
  EXPECT_EQ(state.values, (std::map<std::string, std::int64_t>{{"data.sequences_taken", 13 * 6}}));
  state.loading = true;
  // Also with another number of ranks.
  std::vector<TrainSampler> resumed = samplers(2, 3);
  std::vector<TrainSampler> fewer = samplers(1, 6);
  for (TrainSampler& rank : resumed)
    rank.visit_state(state);
  for (TrainSampler& rank : fewer)
    rank.visit_state(state);
  for (int step = 0; step < 20; ++step) {
    const Rows expected = global_batch(straight);
    EXPECT_EQ(expected, global_batch(resumed));
    EXPECT_EQ(expected, global_batch(fewer));
  }
}

TEST_F(Sampler, ASteadyStateTakesNoMemoryFromTheSystem) {
  std::vector<TrainSampler> one = samplers(1, 4);
  ValidationSampler valid(runtime_.context(), file_, {16, 4, 1, 0, 1});
  Batch held = one[0].next();
  held = one[0].next();
  valid.batch(0);
  const std::int64_t before = runtime_.allocator().stats().system_allocations;
  for (int step = 0; step < 20; ++step) {
    held = one[0].next();
    valid.batch(step % valid.batches());
  }
  EXPECT_EQ(runtime_.allocator().stats().system_allocations, before);
  EXPECT_GT(runtime_.allocator().stats().of(Segment::kData).live_bytes, 0u);
}

TEST_F(Sampler, AHeldBatchIsNotOverwritten) {
  std::vector<TrainSampler> one = samplers(1, 4);
  const Batch first = one[0].next();
  const Rows before = rows_of(runtime_.context(), first.inputs);
  const Batch second = one[0].next();
  EXPECT_EQ(rows_of(runtime_.context(), first.inputs), before);
  EXPECT_NE(rows_of(runtime_.context(), second.inputs), before);
}

TEST_F(Sampler, ValidationTakesEveryTokenOnce) {
  for (const int ranks : {1, 2, 3}) {
    std::vector<int> asked(1003);
    std::int64_t counted = 0;
    for (int r = 0; r < ranks; ++r) {
      ValidationSampler valid(runtime_.context(), file_, {16, 5, 1, r, ranks});
      EXPECT_EQ(valid.batches(), (63 + 5 * ranks - 1) / (5 * ranks));
      for (std::int64_t i = 0; i < valid.batches(); ++i) {
        const Batch batch = valid.batch(i);
        const Rows inputs = rows_of(runtime_.context(), batch.inputs);
        const Rows targets = rows_of(runtime_.context(), batch.targets);
        counted += batch.targets_here;
        for (std::size_t b = 0; b < 5; ++b) {
          for (std::size_t t = 0; t < 16; ++t) {
            if (targets[b][t] == kIgnoredTarget) continue;
            ASSERT_EQ(inputs[b][t] + 1, targets[b][t]);
            ++asked[static_cast<std::size_t>(targets[b][t])];
          }
        }
      }
      expect_error(ErrorKind::kUsage, {"validation batch"}, [&] { valid.batch(valid.batches()); });
    }
    EXPECT_EQ(counted, 1002);
    EXPECT_EQ(asked[0], 0);
    EXPECT_TRUE(std::all_of(asked.begin() + 1, asked.end(), [](int n) { return n == 1; }));
  }
}

TEST_F(Sampler, TheSmallestFileThatWorksWorks) {
  const TokenFile small = TokenFile::open(counting_file(folder_, "small.h5", {17}, 20));
  TrainSampler sampler(runtime_.context(), small, {16, 2, 1, 0, 1});
  EXPECT_EQ(sampler.sequences_per_epoch(), 1);
  const Rows rows = rows_of(runtime_.context(), sampler.next().targets);
  EXPECT_EQ(rows[0].front(), 1);
  EXPECT_EQ(rows[1].back(), 16);
}

TEST_F(Sampler, WhatCannotBeIsAnError) {
  Context& cx = runtime_.context();
  const TokenFile small = TokenFile::open(counting_file(folder_, "small.h5", {16}, 20));
  const TokenFile one = TokenFile::open(counting_file(folder_, "one.h5", {1}, 20));
  expect_error(ErrorKind::kData, {"small.h5", "16 tokens", "17"}, [&] {
    TrainSampler(cx, small, {16, 2, 1, 0, 1});
  });
  expect_error(ErrorKind::kData, {"one.h5", "1 tokens", "2"}, [&] {
    ValidationSampler(cx, one, {16, 2, 1, 0, 1});
  });
  for (const SamplerConfig& bad :
       {SamplerConfig{0, 1, 1, 0, 1}, SamplerConfig{1, 0, 1, 0, 1}, SamplerConfig{1, 1, 1, 2, 2},
        SamplerConfig{1, 1, 1, -1, 2}, SamplerConfig{1, 1, 1, 0, 0}}) {
    expect_error(ErrorKind::kUsage, {"sampler"}, [&] { TrainSampler(cx, file_, bad); });
    expect_error(ErrorKind::kUsage, {"sampler"}, [&] { ValidationSampler(cx, file_, bad); });
  }
}

}  // namespace
}  // namespace gradwire
