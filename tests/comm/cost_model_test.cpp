#include "comm/cost/cost_model.h"

#include <cmath>

#include <gtest/gtest.h>

#include "comm/cost/network_model.h"
#include "comm/cost/network_probe.h"
#include "comm/local/local_comm.h"
#include "tests/support/expect_error.h"

namespace gradwire {
namespace {

TEST(NetworkModel, OneRankSendsNothing) {
  const NetworkModel net{.bandwidth = 1e6, .latency_s = 1.0};
  EXPECT_EQ(all_reduce_seconds(net, 1e9), 0.0);
  EXPECT_EQ(ring_seconds(net, 1e9), 0.0);
}

TEST(NetworkModel, FourHostsByHand) {
  // 100 MB in four parts: three of 25 MB leave each host, twice; 12.5 MB/s.
  const NetworkModel net{.hosts = 4, .bandwidth = 12.5e6, .latency_s = 0.001};
  EXPECT_NEAR(all_reduce_seconds(net, 100e6), 2 * (6.0 + 0.001), 1e-9);
  EXPECT_NEAR(ring_seconds(net, 100e6), 12.0 + 6 * 0.001, 1e-9);
}

TEST(NetworkModel, RanksOfAHostShareItsLink) {
  // Two hosts of two: each rank keeps a quarter, sends one inside and two outside.
  const NetworkModel net{
      .hosts = 2, .ranks_per_host = 2, .bandwidth = 1e6, .latency_s = 0.0, .local_bandwidth = 1e9};
  EXPECT_NEAR(round_seconds(net, 4e6), 4.0, 1e-9);
  NetworkModel slow_inside = net;
  slow_inside.local_bandwidth = 1e5;
  EXPECT_NEAR(round_seconds(slow_inside, 4e6), 10.0, 1e-9);
}

TEST(NetworkModel, GrowsWithBytesAndShrinksWithBandwidth) {
  for (const int hosts : {2, 3, 64}) {
    for (const int ranks : {1, 4, 8}) {
      NetworkModel net{
          .hosts = hosts, .ranks_per_host = ranks, .bandwidth = 1e8, .latency_s = 1e-4};
      const double once = two_phase_seconds(net, 1e7);
      EXPECT_LT(once, two_phase_seconds(net, 2e7));
      net.bandwidth *= 2;
      EXPECT_GT(once, two_phase_seconds(net, 1e7));
    }
  }
}

// Several exchanges at once, counted as a ledger counts them.
TEST(NetworkModel, ExchangesAsALedgerCountsThem) {
  const NetworkModel net{.hosts = 4, .bandwidth = 12.5e6, .latency_s = 0.001};
  EXPECT_NEAR(exchange_seconds(net, 1.5 * 100e6, 1), all_reduce_seconds(net, 100e6), 1e-9);
  EXPECT_NEAR(exchange_seconds(net, 1.5 * 100e6, 5), all_reduce_seconds(net, 100e6), 1e-9);
  EXPECT_NEAR(exchange_seconds(net, 150.0, 50), 50 * 0.001, 1e-9);
  EXPECT_EQ(exchange_seconds(net, 0.0, 0), 0.0);
  EXPECT_EQ(exchange_seconds({.bandwidth = 1e6}, 1e9, 3), 0.0);
}

// A thread handles a rank's messages one after the other, whatever they hold and however many
// exchanges are under way.
TEST(NetworkModel, ManyMessagesTakeLongerThanTheirBytes) {
  const NetworkModel net{.hosts = 1024, .bandwidth = 1e9, .latency_s = 5e-5, .message_s = 1e-5};
  EXPECT_NEAR(round_seconds(net, 1024 * 133.0), 1023 * 1e-5, 1e-9);
  EXPECT_NEAR(exchange_seconds(net, 1000 * 2 * 1023 * 133.0, 1000), 1000 * 2 * 1023 * 1e-5, 1e-6);
  const NetworkModel few{.hosts = 4, .bandwidth = 12.5e6, .latency_s = 0.001, .message_s = 1e-5};
  EXPECT_NEAR(round_seconds(few, 100e6), 6.001, 1e-9);
}

TEST(NetworkModel, RingAddsALatencyForEveryMessage) {
  const NetworkModel net{
      .hosts = 10'000, .bandwidth = 512.5e6, .latency_s = 5e-5, .message_s = 1e-5};
  EXPECT_NEAR(ring_seconds(net, 0.0), 2 * 9999 * 6e-5, 1e-9);
}

TEST(Bandwidth, IsReadAndWritten) {
  EXPECT_DOUBLE_EQ(parse_bandwidth("100mbit"), 12.5e6);
  EXPECT_DOUBLE_EQ(parse_bandwidth("4.1gbit"), 512.5e6);
  EXPECT_DOUBLE_EQ(parse_bandwidth("3GB/s"), 3e9);
  EXPECT_EQ(bandwidth_text(12.5e6), "100 Mbit/s");
  EXPECT_EQ(bandwidth_text(512.5e6), "4.1 Gbit/s");
  for (const char* wrong : {"", "fast", "100", "-1mbit", "0gbit", "1 gbit", "nanmbit", "1e999gbit"})
    test::expect_error(ErrorKind::kUsage, "no bandwidth", [&] { parse_bandwidth(wrong); });
}

TEST(CostModel, StepsByHand) {
  const StepCost cost{
      .compute_s = 1.0, .hidden_s = 0.5, .dense_s = 4.5, .compressed_s = 0.2, .codec_s = 0.05};
  EXPECT_DOUBLE_EQ(cost.dense_step_s(), 5.0);
  EXPECT_DOUBLE_EQ(cost.compressed_step_s(), 1.25);
  EXPECT_DOUBLE_EQ(cost.gain(), 0.75);
  const Decision on = decide(cost, 0.05);
  EXPECT_TRUE(on.compress);
  EXPECT_EQ(
      on.why,
      "compression on: a step is predicted to take 1.25 s compressed and 5 s as it is, a gain "
      "of 75 % (5 % asked for)");
}

TEST(CostModel, AForecastHidesBehindComputing) {
  const ExchangeForecast f{.dense_s = 0.5, .compressed_s = 0.1, .codec_s = 0.02, .hideable = 0.25};
  EXPECT_DOUBLE_EQ(step_cost(f, 1.0).dense_step_s(), 1.25);
  EXPECT_DOUBLE_EQ(step_cost(f, 4.0).dense_step_s(), 4.0);
  EXPECT_DOUBLE_EQ(step_cost(f, 1.0).compressed_step_s(), 1.12);
}

// Four buckets of 0.1 s of encoding and 0.3 s on the wire: 0.1 and then 1.2; or the other way
// round.
TEST(CostModel, BucketsAreEncodedWhileOthersAreOnTheirWay) {
  StepCost cost{.compute_s = 1.0, .compressed_s = 1.2, .codec_s = 0.4, .buckets = 4.0};
  EXPECT_DOUBLE_EQ(cost.compressed_step_s(), 2.3);
  std::swap(cost.compressed_s, cost.codec_s);
  EXPECT_DOUBLE_EQ(cost.compressed_step_s(), 2.3);
  cost.buckets = 1.0;
  EXPECT_DOUBLE_EQ(cost.compressed_step_s(), 2.6);
}

TEST(CostModel, OffWhereTheGainIsSmallOrALoss) {
  StepCost cost{.compute_s = 1.0, .dense_s = 0.05, .compressed_s = 0.002, .codec_s = 0.01};
  EXPECT_FALSE(decide(cost, 0.05).compress);
  EXPECT_TRUE(decide(cost, 0.01).compress);
  cost.hidden_s = 1.0;
  EXPECT_FALSE(decide(cost, 1e-9).compress);
  // Asked for in any case.
  EXPECT_TRUE(decide(cost, 0.0).compress);
  EXPECT_TRUE(decide(cost, 0.0).why.ends_with("a gain of -1 % (none asked for)"));
}

// At the break-even bandwidth, by the definition, both exchanges take equally long.
TEST(CostModel, BreaksEvenWhereBothTakeEquallyLong) {
  const double dense = 4e6, compressed = 126e3, codec_s = 0.01;
  const double bandwidth = break_even_bandwidth(dense, compressed, codec_s);
  EXPECT_NEAR(dense / bandwidth, compressed / bandwidth + codec_s, 1e-12);
  EXPECT_TRUE(std::isinf(break_even_bandwidth(dense, compressed, 0.0)));
  EXPECT_EQ(break_even_bandwidth(1.0, 2.0, 1.0), 0.0);
}

TEST(Probe, GivesAllRanksTheSameNumbers) {
  for (const int ranks : {1, 2, 3}) {
    std::vector<NetworkSpeed> network(static_cast<std::size_t>(ranks));
    std::vector<CodecSpeed> codec(network.size());
    run_ranks(ranks, [&](Communicator& comm) {
      Runtime runtime;
      const auto rank = static_cast<std::size_t>(comm.rank());
      network[rank] = probe_network(runtime.context(), comm);
      codec[rank] = probe_codec(runtime.context(), comm, *make_codec({.name = "sign"}));
    });
    for (std::size_t r = 0; r < network.size(); ++r) {
      EXPECT_EQ(network[r].bandwidth, network[0].bandwidth);
      EXPECT_EQ(network[r].latency_s, network[0].latency_s);
      EXPECT_EQ(network[r].message_s, network[0].message_s);
      EXPECT_LT(network[r].message_s, 0.1);
      EXPECT_EQ(network[r].reducing, network[0].reducing);
      EXPECT_GT(network[r].reducing, 1e6);
      EXPECT_EQ(codec[r].encode_s, codec[0].encode_s);
      EXPECT_GT(network[r].bandwidth, 1e6);
      EXPECT_LT(network[r].latency_s, 1.0);
      EXPECT_GT(codec[r].decode_s, 0.0);
      EXPECT_LT(codec[r].decode_s, 1e-6);
    }
  }
}

}  // namespace
}  // namespace gradwire
