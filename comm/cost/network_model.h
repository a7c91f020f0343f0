// What an exchange takes on a network that is only described: hosts with several ranks each, a link
// per host that its ranks share, and something faster inside. Full duplex; every link carries its
// bytes at its bandwidth, a round of messages costs one latency, and every message costs the thread
// of its rank that handles them some time, so that many small messages take longer than their
// bytes. Pure arithmetic.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gradwire {

struct NetworkModel {
  int hosts = 1;
  int ranks_per_host = 1;
  double bandwidth = 0.0;        // of a host's link, each way, bytes per second
  double latency_s = 0.0;        // of a message between hosts
  double local_bandwidth = 0.0;  // of a rank inside its host; 0: no limit
  double local_latency_s = 0.0;
  double message_s = 0.0;  // of a rank's processor for each message that it sends and receives

  int ranks() const { return hosts * ranks_per_host; }
};

// Every rank sends `bytes` in equal parts to all ranks (its own part stays): the round that
// all-to-all, all-gather of `bytes` altogether, and each half of our all-reduce consist of.
double round_seconds(const NetworkModel& net, double bytes);
// Our all-reduce of `bytes`: a scatter of parts and a gather of results, two rounds.
double all_reduce_seconds(const NetworkModel& net, double bytes);
// A compressed exchange (comm/reducer/two_phase.h) of a payload of `bytes`: two rounds as well.
double two_phase_seconds(const NetworkModel& net, double bytes);
// `exchanges` of either kind, submitted at once, in which a rank sends `sent` bytes altogether, as
// a ledger counts them. Two are under way at a time (comm/mpi/mpi_channel.h), so that the latency
// of one hides behind the bytes of the other; if there are few bytes, latency counts, or, among
// many ranks, the number of messages.
double exchange_seconds(const NetworkModel& net, double sent, std::int64_t exchanges);
// The ring all-reduce of other libraries, whose ring crosses each host's link once. Its 2 (n-1)
// messages wait for each other, so that each adds its latency.
double ring_seconds(const NetworkModel& net, double bytes);

// Bytes per second of "4.1gbit", "100mbit", "3GB/s", "500MB/s". Error(kUsage) for anything else.
double parse_bandwidth(std::string_view text);
std::string bandwidth_text(double bytes_per_s);  // "100 Mbit/s", "4.1 Gbit/s"

}  // namespace gradwire
