// What a run tells about itself, and where to: a JSON-lines file (the record), TensorBoard event
// files, a progress line or log lines. Rank 0 alone has sinks. A sink never stops training: what
// cannot be written is lost, and said once, through OnTrouble, until writing works again.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "train/measure.h"

namespace gradwire {

// Of a counter (Count): "tokens" becomes tokens_per_s.
struct Rate {
  std::string name{};
  std::string unit{};
  double per_s = 0.0;
};

// All of one step, over all ranks.
struct StepMetrics {
  std::int64_t step = 0;
  std::int64_t total_steps = 0;
  double epoch = 0.0;
  double loss = 0.0;       // by the weights of the micro-batches
  double grad_norm = 0.0;  // before clipping
  double lr = 0.0;
  std::vector<Rate> speed{};
  double step_s = 0.0;  // without evaluation and checkpoints
  double data_wait_s = 0.0;
  double comm_wait_s = 0.0;
  std::int64_t wire_bytes = 0;        // sent by this rank in this step
  std::int64_t wire_dense_bytes = 0;  // what uncompressed 32-bit exchange would have sent
  std::int64_t memory_peak_bytes = 0;
  std::int64_t nonfinite_steps = 0;  // skipped so far
};

struct EvaluationMetrics {
  std::int64_t step = 0;
  std::vector<NamedValue> values{};
  double seconds = 0.0;
};

struct CheckpointMetrics {
  std::int64_t step = 0;
  bool committed = false;
  std::string path{};  // if committed
  std::string why{};   // if not
  std::uint64_t bytes = 0;
  double seconds = 0.0;
};

class MetricsSink {
 public:
  virtual ~MetricsSink() = default;
  // Once, before anything else: training goes on after `step`, 0 for a new run.
  virtual void started(std::int64_t step) = 0;
  virtual void step(const StepMetrics& m) = 0;
  virtual void evaluation(const EvaluationMetrics& m) = 0;
  virtual void checkpoint(const CheckpointMetrics& m) = 0;
  virtual void warning(std::string_view text) = 0;
  virtual void note(std::string_view text) = 0;  // worth a line, nothing wrong
};

// Seconds since 1970; tests bring their own.
using WallClock = std::function<double()>;
WallClock system_wall_clock();
using OnTrouble = std::function<void(const std::string& what)>;

// One object per call and line, appended in one write, each with schema, event and time; numbers
// that are not finite are null. Goes on in an existing file, whose last line may be torn.
inline constexpr int kMetricsSchema = 1;
std::unique_ptr<MetricsSink> make_json_lines_sink(const std::string& path, OnTrouble on_trouble,
                                                  WallClock clock = system_wall_clock());

}  // namespace gradwire
