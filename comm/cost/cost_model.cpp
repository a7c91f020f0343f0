#include "comm/cost/cost_model.h"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

namespace gradwire {

double StepCost::dense_step_s() const {
  return compute_s + std::max(0.0, dense_s - hidden_s);
}

double StepCost::compressed_step_s() const {
  return compute_s + std::max(compressed_s, codec_s) + std::min(compressed_s, codec_s) / buckets;
}

StepCost step_cost(const ExchangeForecast& exchange, double compute_s) {
  return {.compute_s = compute_s,
          .hidden_s = exchange.hideable * compute_s,
          .dense_s = exchange.dense_s,
          .compressed_s = exchange.compressed_s,
          .codec_s = exchange.codec_s,
          .buckets = exchange.buckets};
}

double break_even_bandwidth(double dense_bytes, double compressed_bytes, double codec_s) {
  if (codec_s <= 0.0) return std::numeric_limits<double>::infinity();
  return std::max(0.0, dense_bytes - compressed_bytes) / codec_s;
}

std::string prediction_text(const StepCost& cost) {
  return fmt::format(
      "a step is predicted to take {:.3g} s compressed and {:.3g} s as it is, a gain of {:.0f} %",
      cost.compressed_step_s(), cost.dense_step_s(), 100.0 * cost.gain());
}

Decision decide(const StepCost& cost, double least_gain) {
  const bool compress = least_gain == 0.0 || cost.gain() >= least_gain;
  const std::string asked =
      least_gain == 0.0 ? "none" : fmt::format("{:.0f} %", 100.0 * least_gain);
  return {compress, fmt::format("compression {}: {} ({} asked for)", compress ? "on" : "off",
                                prediction_text(cost), asked)};
}

}  // namespace gradwire
