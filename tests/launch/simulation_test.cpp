#include "launch/measure/simulation.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "launch/measure/exchange_kinds.h"
#include "tests/support/recipes.h"

namespace gradwire {
namespace {

Recipe small_recipe() {
  Recipe r = lm_recipe();
  lm(r).model.layers = 2;
  lm(r).model.width = 64;
  lm(r).model.heads = 4;
  lm(r).data.vocab_size = 512;
  lm(r).data.context = 16;
  r.batch.global = 32;
  r.batch.micro = 8;
  r.optim.name = "onebit_adam";
  r.optim.freeze_step = 90;
  r.train.steps = 600;
  r.parallel.bucket_bytes = 64 << 10;
  return r;
}

Simulation simulate_on(const NetworkModel& net, double compute_s = 0.25) {
  Runtime runtime;
  return simulate(runtime.context(), for_workers(small_recipe(), net.ranks()), net, compute_s);
}

TEST(ForWorkers, TheBatchGrowsToTheNextThatDivides) {
  EXPECT_EQ(for_workers(small_recipe(), 4).batch.global, 32);
  EXPECT_EQ(for_workers(small_recipe(), 3).batch.global, 48);
  EXPECT_EQ(for_workers(small_recipe(), 256).batch.global, 2048);
}

TEST(DenseSteps, AreThoseBeforeTheSwitch) {
  Recipe r = small_recipe();
  EXPECT_EQ(dense_steps_of(r), 90);
  r.optim.freeze_step = 0;  // by the rule: not before two windows of 20, nor the warm-up
  r.optim.beta2 = 0.95;
  r.schedule.warmup_steps = 50;
  EXPECT_EQ(dense_steps_of(r), 50);
  r.schedule.warmup_steps = 10;
  EXPECT_EQ(dense_steps_of(r), 40);
  EXPECT_EQ(dense_steps_of(with_dense_exchange(r)), 600);
  r = with_exchange(r, "ef", "topk");
  EXPECT_EQ(dense_steps_of(r), 0);
  r.compress.dense_steps = 1000;
  EXPECT_EQ(dense_steps_of(r), 600);
  // 0/1 Adam refreshes its second moment in each of 16 updates, then in every second.
  r = small_recipe();
  r.optim.name = "zero_one_adam";
  r.optim.freeze_step = 16;
  EXPECT_EQ(dense_steps_of(r), 16);
  r.optim.freeze_step = 24;
  EXPECT_EQ(dense_steps_of(r), 20);
  r.optim.freeze_step = 0;  // half of the steps
  r.train.steps = 47;
  EXPECT_EQ(dense_steps_of(r), 20);
}

TEST(ExchangeName, SaysWhatTravels) {
  EXPECT_EQ(exchange_name(small_recipe()), "ef, sign");
  EXPECT_EQ(exchange_name(with_dense_exchange(small_recipe())), "dense f32");
  EXPECT_EQ(exchange_name(with_exchange(small_recipe(), "econtrol", "topk")), "econtrol, topk 1 %");
}

TEST(Simulate, BytesAndTimesByHand) {
  const NetworkModel net{.hosts = 256, .bandwidth = 1e6, .latency_s = 1e-4};
  const Simulation s = simulate_on(net);
  ASSERT_EQ(s.exchanges.size(), 3U);
  const auto parameters = static_cast<double>(s.parameters),
             buckets = static_cast<double>(s.buckets);
  const double share = 2.0 * 255 / 256;
  const SimulatedExchange &dense = s.exchanges[0], &half = s.exchanges[1], &bit = s.exchanges[2];
  // The busiest rank's part of a bucket is up to one element larger than the others'.
  EXPECT_NEAR(dense.sent_bytes, share * 4 * parameters, 4 * 256 * buckets);
  EXPECT_GT(half.sent_bytes, share * 2 * parameters);
  EXPECT_NEAR(dense.exchange_s, dense.sent_bytes / 1e6 + 2 * 1e-4, 1e-9);
  EXPECT_NEAR(bit.exchange_s, bit.sent_bytes / 1e6 + 2 * 1e-4, 1e-9);
  EXPECT_EQ(dense.codec_s, 0.0);
  EXPECT_GT(bit.codec_s, 0.0);
  const double longer = std::max(bit.exchange_s, bit.codec_s);
  const double shorter = std::min(bit.exchange_s, bit.codec_s);
  EXPECT_DOUBLE_EQ(bit.step_s, 0.25 + longer + shorter / buckets);
  // Of 0.25 s backward is two thirds; the last bucket has nothing to hide behind.
  const double hidden = 0.25 * 2.0 / 3.0 * (1.0 - 1.0 / buckets);
  EXPECT_NEAR(dense.step_s, 0.25 + dense.exchange_s - hidden, 1e-9);
  const double ring = share * 4 * parameters / 1e6 + buckets * 2 * 255 * 1e-4;
  EXPECT_NEAR(s.ring.exchange_s, ring, 1e-9);
  EXPECT_NEAR(s.ring.step_s, 0.25 + ring - hidden, 1e-9);
  EXPECT_NEAR(s.fewer_bytes, 1.0 / (0.15 + 0.85 * bit.sent_bytes / dense.sent_bytes), 1e-9);
  EXPECT_NEAR(s.speed_up, 1.0 / (0.15 + 0.85 * bit.step_s / dense.step_s), 1e-9);
}

// If the network is slow, bits decide; if it is fast, encoding costs and nothing is gained.
TEST(Simulate, TheSlowerTheNetworkTheMoreIsGained) {
  double before = 1e9;
  for (const double bandwidth : {1e5, 1e6, 1e12}) {
    const Simulation s = simulate_on({.hosts = 16, .bandwidth = bandwidth});
    EXPECT_LT(s.speed_up, before);
    before = s.speed_up;
  }
  EXPECT_LT(before, 1.0);
}

TEST(Simulate, RanksOfAHostShareItsLink) {
  const Simulation one = simulate_on({.hosts = 4, .ranks_per_host = 1, .bandwidth = 1e6});
  const Simulation four = simulate_on({.hosts = 4, .ranks_per_host = 4, .bandwidth = 1e6});
  EXPECT_GT(four.exchanges[0].exchange_s, 3.0 * one.exchanges[0].exchange_s);
}

TEST(Simulate, MeasuresComputingWhereItIsNotGiven) {
  Runtime runtime;
  const NetworkModel net{.hosts = 2, .bandwidth = 1e9};
  const Simulation s =
      simulate(runtime.context(), for_workers(small_recipe(), 2), net, std::nullopt);
  EXPECT_GT(s.compute_s, 0.0);
  EXPECT_LT(s.compute_s, 60.0);
}

}  // namespace
}  // namespace gradwire
