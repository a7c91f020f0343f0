#include "launch/measure/comm_bench.h"

#include <algorithm>
#include <array>

#include "comm/cost/cost_model.h"
#include "core/codec_names.h"
#include "launch/assemble/learner.h"
#include "launch/measure/exchange_kinds.h"
#include "launch/measure/exchange_probe.h"
#include "launch/measure/scratch_group.h"
#include "parallel/agreement.h"

namespace gradwire {
namespace {

std::vector<Recipe> kinds_of(const Recipe& recipe) {
  std::vector<Recipe> kinds{with_dense_exchange(recipe), with_exchange(recipe, "plain", "bf16")};
  for (const std::string_view codec : kCodecNames) {
    if (codec != "identity" && codec != "bf16")  // nothing is lost that feedback could make up for
      kinds.push_back(with_exchange(recipe, "ef", std::string(codec)));
  }
  const auto same = [&](const Recipe& k) { return exchange_name(k) == exchange_name(recipe); };
  if (std::ranges::none_of(kinds, same)) kinds.push_back(recipe);
  return kinds;
}

std::int64_t affordable(const NetworkSpeed& speed, int ranks) {
  constexpr std::int64_t kLeast = std::int64_t{1} << 18, kMost = std::int64_t{1} << 22;
  constexpr double kSeconds = 0.5;
  if (ranks == 1) return kMost;
  const double share = 2.0 * (ranks - 1) / ranks;
  const double elements = kSeconds * speed.reducing / share / sizeof(float);
  return std::clamp(static_cast<std::int64_t>(std::min(elements, 1e12)), kLeast, kMost);
}

double median_of_three(Context& cx, ScratchGroup& scratch, bool dense) {
  const auto once = [&] {
    return dense ? scratch.dense_seconds(cx) : scratch.compressed_seconds(cx);
  };
  once();  // a first exchange may be dense
  std::array<double, 3> seconds{once(), once(), once()};
  std::ranges::sort(seconds);
  return seconds[1];
}

void add_codec(Context& cx, Communicator& comm, const Recipe& kind, ExchangeRow& row) {
  const CodecSpeed speed = probe_codec(cx, comm, *make_codec(codec_config(kind.compress)));
  row.encode = 1.0 / speed.encode_s;
  row.decode = 1.0 / speed.decode_s;
}

}  // namespace

CommBench bench_comm(Context& cx, Communicator& comm, const Recipe& recipe, std::int64_t elements) {
  const int ranks = comm.size();
  CommBench bench;
  bench.network = probe_network(cx, comm);
  bench.compute_s = max_over_ranks(cx, comm, measured_compute(cx, recipe, ranks));
  RecipeExchange model(cx, recipe, ranks);
  bench.parameters = model.group().buckets().elements();
  if (elements == 0) elements = affordable(bench.network, ranks);
  for (const Recipe& kind : kinds_of(recipe)) {
    ScratchGroup scratch(cx, comm, kind, elements);
    bench.elements = scratch.elements();
    const double work =
        max_over_ranks(cx, comm, compression_work(cx, kind, ranks, bench.parameters));
    const ExchangeParts parts{bench.network.network(ranks), bench.network.reducing_network(ranks),
                              work};
    const bool dense = !kind.compresses();
    ExchangeRow row{.name = exchange_name(kind)};
    if (!dense && kind.compress.method != "powersgd") add_codec(cx, comm, kind, row);
    const ExchangeForecast f = forecast(parts, scratch.group(), kind);
    row.predicted_s = dense ? f.dense_s : step_cost(f, 0.0).compressed_step_s();
    row.measured_s = median_of_three(cx, scratch, dense);

    // Per parameter as of a world of two, where a rank sends as much as one payload has.
    const StepBytes pair = scratch.group().sent_bytes(2), bytes = scratch.group().sent_bytes(ranks);
    row.bytes_per_parameter = static_cast<double>(dense ? pair.dense : pair.compressed) /
                              static_cast<double>(bench.elements);
    row.break_even = break_even_bandwidth(static_cast<double>(bytes.dense),
                                          static_cast<double>(bytes.compressed), f.codec_s);
    model.use(cx, kind);
    const StepCost cost = step_cost(forecast(parts, model.group(), kind), bench.compute_s);
    row.step_s = dense ? cost.dense_step_s() : cost.compressed_step_s();
    bench.rows.push_back(std::move(row));
  }
  return bench;
}

}  // namespace gradwire
