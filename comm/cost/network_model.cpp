#include "comm/cost/network_model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

double round_seconds(const NetworkModel& net, double bytes) {
  const double n = net.ranks(), here = net.ranks_per_host;
  if (net.ranks() < 2) return 0.0;
  const double part = bytes / n;
  double seconds = 0.0;
  if (net.ranks_per_host > 1) {
    const double local =
        net.local_bandwidth > 0.0 ? (here - 1.0) * part / net.local_bandwidth : 0.0;
    seconds = net.local_latency_s + local;
  }
  if (net.hosts > 1) {
    seconds = std::max(seconds, net.latency_s + here * (n - here) * part / net.bandwidth);
  }
  return std::max(seconds, (n - 1.0) * net.message_s);
}

double all_reduce_seconds(const NetworkModel& net, double bytes) {
  return 2.0 * round_seconds(net, bytes);
}

double two_phase_seconds(const NetworkModel& net, double bytes) {
  return 2.0 * round_seconds(net, bytes);
}

double exchange_seconds(const NetworkModel& net, double sent, std::int64_t exchanges) {
  if (net.ranks() < 2 || exchanges == 0) return 0.0;
  const double n = net.ranks(), messages = sent / 2.0 * n / (n - 1.0);
  const double rounds = static_cast<double>(exchanges);              // two each, two at a time
  const double handling = 2.0 * rounds * (n - 1.0) * net.message_s;  // two at a time or not
  return std::max({two_phase_seconds(net, messages), rounds * round_seconds(net, 0.0), handling});
}

double ring_seconds(const NetworkModel& net, double bytes) {
  const double n = net.ranks();
  if (net.ranks() < 2) return 0.0;
  const bool wide = net.hosts > 1;
  const double latency = wide ? net.latency_s : net.local_latency_s;
  const double bandwidth = wide ? net.bandwidth : net.local_bandwidth;
  const double transfer = bandwidth > 0.0 ? 2.0 * (n - 1.0) / n * bytes / bandwidth : 0.0;
  return transfer + 2.0 * (n - 1.0) * (latency + net.message_s);
}

double parse_bandwidth(std::string_view text) {
  struct Unit {
    std::string_view name;
    double bytes_per_s;
  };
  static constexpr std::array<Unit, 6> kUnits{{{"kbit", 125.0},
                                               {"mbit", 125e3},
                                               {"gbit", 125e6},
                                               {"KB/s", 1e3},
                                               {"MB/s", 1e6},
                                               {"GB/s", 1e9}}};
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  const auto* found = std::ranges::find(kUnits, unit, &Unit::name);
  if (error != std::errc() || found == kUnits.end() || !(value > 0.0) || !std::isfinite(value)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("'{}' is no bandwidth: write it like 100mbit, 4.1gbit or 3GB/s", text));
  }
  return value * found->bytes_per_s;
}

std::string bandwidth_text(double bytes_per_s) {
  const double mbit = bytes_per_s / 125e3;
  return mbit < 1000.0 ? fmt::format("{:.4g} Mbit/s", mbit)
                       : fmt::format("{:.4g} Gbit/s", mbit / 1e3);
}

}  // namespace gradwire
