#include "parallel/sharded/sharded_optimizer.h"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

#include "tests/parallel/sharded/job.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

using test::At;
using test::Job;
using test::JobConfig;

class Sharded : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, Sharded, testing::Values(1, 2, 3, 4, 7));

void expect_same(const JobConfig& config, int ranks) {
  run_ranks(ranks, [&](Communicator& comm) {
    Runtime runtime;
    JobConfig split = config;
    split.sharded = true;
    Job plain(runtime.context(), comm, config), sharded(runtime.context(), comm, split);
    for (int step = 1; step <= 20; ++step) {
      ASSERT_EQ(plain.step(step), sharded.step(step)) << config.rule << " " << step;
      ASSERT_EQ(plain.values(), sharded.values()) << config.rule << " " << step;
    }
  });
}

TEST_P(Sharded, IsTheWholeUpdateBitForBit) {
  for (const char* rule : {"adamw", "sgd", "nesterov"}) {
    for (const std::int64_t bucket_bytes : {64, 1024, 1 << 20})
      expect_same({.rule = rule, .clip_norm = 1.0, .bucket_bytes = bucket_bytes}, GetParam());
    expect_same({.rule = rule, .clip_norm = 5.0, .accumulation = 3, .uncompressed = {"b.*", "c"}},
                GetParam());
  }
}

TEST_P(Sharded, GradientsMayTravelCompressedBeforeIt) {
  expect_same({.rule = "sgd", .clip_norm = 1.0, .method = "ef"}, GetParam());
  expect_same({.rule = "adamw", .uncompressed = {"c"}, .method = "econtrol", .codec = "topk"},
              GetParam());
}

TEST_P(Sharded, StepsThatAreSkippedLeaveNoTrace) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    Job plain(runtime.context(), comm, {.clip_norm = 1.0});
    Job sharded(runtime.context(), comm, {.sharded = true, .clip_norm = 1.0});
    // One element of one rank: in a slice that belongs to one rank alone.
    const auto spoilt = [&](const At& at) {
      const bool here = at.step % 3 == 0 && at.rank == comm.size() - 1 && at.p == 3 && at.i == 500;
      return here ? std::numeric_limits<double>::quiet_NaN() : test::noisy(at);
    };
    for (int step = 1; step <= 9; ++step) {
      const std::vector<float> before = sharded.values();
      plain.step(step, spoilt);
      EXPECT_EQ(std::isfinite(sharded.step(step, spoilt)), step % 3 != 0);
      EXPECT_EQ(sharded.values() == before, step % 3 == 0) << step;
      ASSERT_EQ(plain.values(), sharded.values()) << step;
    }
  });
}

// Counts bytes of state that is cut over the ranks.
struct SliceBytes final : StateVisitor {
  void tensor(std::string_view name, Tensor&, Share) override { ADD_FAILURE() << name; }
  void slice(std::string_view, Tensor& t, std::int64_t, std::int64_t) override {
    bytes += static_cast<std::int64_t>(t.bytes());
  }
  void number(std::string_view, std::int64_t&, Share) override {}
  void number(std::string_view, double&, Share) override {}
  void text(std::string_view, std::string&, Share) override {}
  std::int64_t bytes = 0;
};

// Every element's state is on one rank, and no rank has more than its share of the bucket.
TEST_P(Sharded, StateIsSpreadEvenly) {
  const int ranks = GetParam();
  const std::pair<const char*, std::int64_t> bytes_of[] = {{"adamw", 8}, {"sgd", 4}};
  for (const auto& [rule, bytes] : bytes_of) {
    run_ranks(ranks, [&, rule = rule, bytes = bytes](Communicator& comm) {
      Runtime runtime;
      Context& cx = runtime.context();
      Job job(cx, comm, {.rule = rule, .sharded = true, .bucket_bytes = 1 << 20});
      SliceBytes mine;
      job.optimizer().visit_state(mine);
      EXPECT_LE(mine.bytes, bytes * job.ranks().buckets()[0].flat.numel() / ranks);
      const Tensor all = Tensor::from(cx, {1}, std::vector<std::int64_t>{mine.bytes});
      comm.all_reduce(all, ReduceOp::kSum, cx.stream)->wait(cx.stream);
      EXPECT_EQ(all.host<std::int64_t>()[0], bytes * Job::kElements);
      // What the allocator rounds up aside, nothing else is kept, and no second copy of the values.
      const MemoryStats memory = runtime.allocator().stats();
      const auto of = [&](Segment s) { return static_cast<std::int64_t>(memory.of(s).live_bytes); };
      EXPECT_LE(of(Segment::kOptim), mine.bytes + mine.bytes / 8 + 8 * 512);
      const auto values = static_cast<std::int64_t>(job.ranks().buckets()[0].flat.bytes());
      EXPECT_LE(of(Segment::kParams), values + values / 8);
    });
  }
}

// The wire carries what it carried before: half of it as gradients, half as parameters.
TEST_P(Sharded, SendsWhatAnAllReduceSends) {
  run_ranks(GetParam(), [](Communicator& comm) {
    Runtime runtime;
    const auto sent = [&](bool sharded, Traffic kind) {
      Job job(runtime.context(), comm, {.sharded = sharded});
      const std::int64_t before = comm.ledger().total(kind).sent_bytes;
      job.step(1);
      return comm.ledger().total(kind).sent_bytes - before;
    };
    const std::int64_t plain = sent(false, Traffic::kGradient);
    EXPECT_EQ(sent(true, Traffic::kGradient), plain / 2);
    EXPECT_EQ(sent(true, Traffic::kParameter), plain / 2);
  });
}

TEST(Shard, CutsParametersInTheMiddle) {
  run_ranks(3, [](Communicator& comm) {
    Runtime runtime;
    Job job(runtime.context(), comm, {.bucket_bytes = 1 << 20});
    const std::vector<float> before = job.values();
    Shard shard(runtime.context(), comm, job.ranks().buckets().all());
    EXPECT_EQ(job.values(), before);
    // "d" comes first in the one bucket of 1248 elements, and has 1003.
    const std::int64_t want[3][4] = {{416, 0, 0, 0}, {416, 0, 0, 0}, {171, 130, 5, 37}};
    ASSERT_EQ(shard.slices().size(), 1U);
    ASSERT_EQ(shard.pieces().size(), 4U);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(shard.pieces()[i]->name, Job::kNames[3 - i]);
      EXPECT_EQ(shard.pieces()[i]->value.numel(), want[comm.rank()][i]);
    }
    EXPECT_EQ(shard.slice_begin(0), 416 * comm.rank());
    // What this rank writes is what all others read.
    fill(runtime.context(), shard.pieces()[0]->value, comm.rank());
    const std::int64_t version = job.params()[3]->version;
    shard.gather(runtime.context(), 0);
    shard.wait(runtime.context());
    EXPECT_GT(job.params()[3]->version, version);
    for (std::int64_t i = 0; i < 1003; ++i)
      ASSERT_EQ(job.params()[3]->value.host<float>()[static_cast<std::size_t>(i)], i / 416) << i;
  });
}

TEST(Shard, RefusesWhatCannotBeCutEvenlyAndStateOfNoParameter) {
  run_ranks(2, [](Communicator& comm) {
    Runtime runtime;
    Context& cx = runtime.context();
    Parameter p;
    p.value = Tensor::zeros(cx, {5}, DType::kF32);
    const std::vector<FlatBucket> odd{{Tensor::zeros(cx, {5}, DType::kF32), {&p}, {0}}};
    test::expect_error(ErrorKind::kUsage, "a bucket of 5 elements for 2 ranks",
                       [&] { Shard(cx, comm, odd); });
    Job plain(cx, comm, {});
    Shard shard(cx, comm, plain.ranks().buckets().all());
    struct Nobody final : StateVisitor {
      void tensor(std::string_view, Tensor&, Share) override {}
      void slice(std::string_view, Tensor&, std::int64_t, std::int64_t) override {}
      void number(std::string_view, std::int64_t&, Share) override {}
      void number(std::string_view, double&, Share) override {}
      void text(std::string_view, std::string&, Share) override {}
    } nobody;
    for (const char* name : {"adamw/e/m", "adamw", "a/m", "d/m/"}) {
      test::expect_error(ErrorKind::kInternal, name, [&] {
        shard.visit_pieces(nobody, [&](StateVisitor& v) { v.tensor(name, p.value); });
      });
    }
    struct Exchanges final : Optimizer {
      StepNeeds needs(bool) const override { return {.gradients = false, .exchange = true}; }
      void apply(Context&, const StepInfo&) override {}
      void visit_state(StateVisitor&) override {}
    };
    const auto sharded = make_sharded(shard, [](auto) { return std::make_unique<Exchanges>(); });
    test::expect_error(ErrorKind::kUsage, "exchanges more than gradients",
                       [&] { sharded->needs(false); });
  });
}

}  // namespace
}  // namespace gradwire
