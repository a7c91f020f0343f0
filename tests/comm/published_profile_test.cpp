// The cost model on what Tang et al. measured ("1-bit Adam", ICML 2021, table 1: BERT-Large, 340 M
// parameters, gradients of 16 bits, all-reduce after backward, by NCCL's ring). Bandwidths are
// those that the authors state: 4.1 Gbit/s by iperf over 40-gigabit Ethernet, 32 Gbit/s of data
// over QDR InfiniBand. Nothing is fitted.
#include <span>

#include <gtest/gtest.h>

#include "comm/cost/cost_model.h"
#include "comm/cost/network_model.h"

namespace gradwire {
namespace {

constexpr double kParameters = 340e6;
constexpr double kHalfBytes = 2 * kParameters;
// One bit a parameter and a float for each 4096, as our sign codec sends.
constexpr double kOneBitBytes = kParameters / 8 + 4 * kParameters / 4096;

struct Row {
  double forward_ms, all_reduce_ms, other_backward_ms, step_ms;
  double compute_s() const { return 1e-3 * (forward_ms + other_backward_ms + step_ms); }
  double total_s() const { return compute_s() + 1e-3 * all_reduce_ms; }
};
// 64 GPUs: four to a host on Ethernet, eight on InfiniBand. What the table has for a single host
// (239.76 ms for 4 GPUs, 28.18 ms for 8) depends on links that the authors do not state.
constexpr Row kEthernet[] = {{36.65, 2205.86, 33.63, 74.96},
                             {35.71, 2275.43, 60.81, 75.59},
                             {137.80, 2259.36, 243.72, 74.92}};
constexpr Row kInfiniband[] = {{32.81, 336.40, 59.99, 57.79}, {131.04, 339.52, 237.92, 56.91}};

NetworkModel ethernet() {
  return {.hosts = 16, .ranks_per_host = 4, .bandwidth = parse_bandwidth("4.1gbit")};
}
NetworkModel infiniband() {
  return {.hosts = 8, .ranks_per_host = 8, .bandwidth = parse_bandwidth("32gbit")};
}

void expect_dense_steps(const NetworkModel& net, std::span<const Row> rows, double tolerance) {
  for (const Row& row : rows) {
    const ExchangeForecast f{.dense_s = ring_seconds(net, kHalfBytes)};
    EXPECT_NEAR(1e3 * f.dense_s / row.all_reduce_ms, 1.0, tolerance);
    EXPECT_NEAR(step_cost(f, row.compute_s()).dense_step_s() / row.total_s(), 1.0, tolerance);
  }
}

// iperf's one stream gives less than all of NCCL's together: the model is up to 19 % too slow.
TEST(PublishedProfile, DenseStepsOverEthernet) {
  expect_dense_steps(ethernet(), kEthernet, 0.2);
}

TEST(PublishedProfile, DenseStepsOverInfiniband) {
  expect_dense_steps(infiniband(), kInfiniband, 0.03);
}

double compressed_speed_up(const NetworkModel& net, const Row& row) {
  const ExchangeForecast f{.compressed_s = two_phase_seconds(net, kOneBitBytes)};
  return row.total_s() / step_cost(f, row.compute_s()).compressed_step_s();
}

// The authors give 2 x for the compressed stage over InfiniBand, without saying for which batch.
// Our exchange sends from every rank to every other, so that all ranks of a host share its
// link: 1.6 x.
TEST(PublishedProfile, CompressedStageOverInfiniband) {
  EXPECT_NEAR(compressed_speed_up(infiniband(), kInfiniband[0]) / 2.0, 1.0, 0.2);
}

// Over Ethernet they give 6.6 x. With iperf's bandwidth for a whole host the model has 3.1 x, with
// the link's nominal 40 Gbit/s it has 10 to 11 x: many streams together get more than one, how much
// is not stated. All that can be said is that the figure lies between.
TEST(PublishedProfile, CompressedStageOverEthernetLiesBetweenOneStreamAndTheLink) {
  NetworkModel link = ethernet();
  link.bandwidth = parse_bandwidth("40gbit");
  for (const Row& row : {kEthernet[0], kEthernet[1]}) {
    EXPECT_LT(compressed_speed_up(ethernet(), row), 6.6);
    EXPECT_GT(compressed_speed_up(ethernet(), row), 2.5);
    EXPECT_GT(compressed_speed_up(link, row), 6.6);
  }
}

}  // namespace
}  // namespace gradwire
