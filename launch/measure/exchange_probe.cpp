#include "launch/measure/exchange_probe.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "comm/local/local_comm.h"
#include "launch/assemble/learner.h"
#include "launch/measure/scratch_group.h"
#include "parallel/agreement.h"

namespace gradwire {

double compression_work(Context& cx, const Recipe& recipe, int ranks, std::int64_t parameters) {
  if (!recipe.compresses()) return 0.0;
  constexpr std::int64_t kMost = std::int64_t{1} << 22;
  const auto alone = make_local_world(1);
  ScratchGroup scratch(cx, *alone[0], recipe, std::min(parameters, kMost));
  scratch.compressed_seconds(cx);  // the first exchange may be dense
  std::array<double, 5> seconds{};
  for (double& s : seconds)
    s = scratch.compressed_seconds(cx);
  std::ranges::sort(seconds);
  const double median = seconds[seconds.size() / 2];
  const double per_element = median / static_cast<double>(scratch.elements());
  // What a rank alone leaves out: as an owner it decodes everybody's part of its chunk, and encodes
  // their mean. Low rank has no owners.
  if (ranks == 1 || recipe.compress.method == "powersgd") return per_element;
  const CodecSpeed speed = probe_codec(cx, *alone[0], *make_codec(codec_config(recipe.compress)));
  return per_element + speed.decode_s + speed.encode_s / static_cast<double>(ranks);
}

double hideable_share(std::int64_t accumulation, std::size_t buckets) {
  constexpr double kBackward = 2.0 / 3.0;  // of a step: twice the products of forward
  const double last = 1.0 / static_cast<double>(std::max<std::size_t>(1, buckets));
  return kBackward / static_cast<double>(accumulation) * (1.0 - last);
}

ExchangeForecast forecast(const ExchangeParts& parts, const DataParallel& group,
                          const Recipe& recipe) {
  const int ranks = parts.messages.ranks();
  const StepBytes bytes = group.sent_bytes(ranks);
  const auto buckets = static_cast<std::int64_t>(group.buckets().size());
  ExchangeForecast f;
  f.dense_s = exchange_seconds(parts.reducing, static_cast<double>(bytes.dense), buckets);
  f.compressed_s = exchange_seconds(parts.messages, static_cast<double>(bytes.compressed), buckets);
  f.codec_s = parts.work * static_cast<double>(group.buckets().elements());
  f.buckets = static_cast<double>(std::max<std::int64_t>(1, buckets));
  f.hideable = hideable_share(std::max<std::int64_t>(1, recipe.batch.accumulation(ranks)),
                              group.buckets().size());
  return f;
}

ExchangeProbe probe_exchange(Context& cx, Communicator& comm, const Recipe& recipe,
                             const DataParallel& group) {
  const int ranks = static_cast<int>(recipe.parallel.replicas(comm.size()));
  const NetworkSpeed speed = probe_network(cx, comm);
  const double work =
      max_over_ranks(cx, comm, compression_work(cx, recipe, ranks, group.buckets().elements()));
  ExchangeProbe probe;
  probe.forecast =
      forecast({speed.network(ranks), speed.reducing_network(ranks), work}, group, recipe);
  const StepBytes bytes = group.sent_bytes(ranks);
  constexpr double kMegabyte = 1e6;
  probe.what = fmt::format(
      "network: {} a rank, {} in all-reduces, {:.3g} ms a round, {:.3g} us a message; a dense "
      "exchange sends {:.4g} MB, "
      "predicted {:.3g} s; a compressed one {:.4g} MB, predicted {:.3g} s and {:.3g} s of encoding",
      bandwidth_text(speed.bandwidth), bandwidth_text(speed.reducing), 1e3 * speed.latency_s,
      1e6 * speed.message_s, static_cast<double>(bytes.dense) / kMegabyte, probe.forecast.dense_s,
      static_cast<double>(bytes.compressed) / kMegabyte, probe.forecast.compressed_s,
      probe.forecast.codec_s);
  return probe;
}

}  // namespace gradwire
