// TensorBoard event files: records of length, masked CRC-32C and protocol-buffer bytes, encoded
// here by hand since three messages of a few fields are all there is. Every process start opens a
// new file in the folder, so that a torn end never precedes good records.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/metrics/metrics.h"

namespace gradwire {

// Tags as readers group them: train/loss, train/grad_norm, train/lr, perf/tokens_per_s,
// comm/wire_bytes, comm/compression_ratio, data/wait_s, eval/loss, ckpt/save_s, ...
std::unique_ptr<MetricsSink> make_tensorboard_sink(const std::string& dir, OnTrouble on_trouble,
                                                   WallClock clock = system_wall_clock());

namespace tensorboard {

using Scalars = std::vector<std::pair<std::string, double>>;

std::uint32_t crc32c(std::string_view bytes);  // Castagnoli, reflected
std::string record(std::string_view payload);  // framed
// Payloads: Event messages.
std::string version_event(double wall_time);
std::string scalar_event(double wall_time, std::int64_t step, const Scalars& scalars);
// Makes readers drop points at and after `step` that an earlier process left.
std::string start_event(double wall_time, std::int64_t step);

}  // namespace tensorboard
}  // namespace gradwire
