#include "train/metrics/metrics.h"

#include <chrono>

#include <nlohmann/json.hpp>

#include "train/metrics/metrics_file.h"

namespace gradwire {
namespace {

using nlohmann::ordered_json;

class JsonLinesSink final : public MetricsSink {
 public:
  JsonLinesSink(const std::string& path, OnTrouble on_trouble, WallClock clock)
      : file_(path, std::move(on_trouble)), clock_(std::move(clock)) {
    if (file_.last_byte() != '\n') file_.append("\n");
  }

  void started(std::int64_t step) override { write("start", {{"step", step}}); }
  void step(const StepMetrics& m) override {
    ordered_json values = {{"step", m.step}, {"total_steps", m.total_steps}, {"epoch", m.epoch},
                           {"loss", m.loss}, {"grad_norm", m.grad_norm},     {"lr", m.lr}};
    for (const Rate& r : m.speed)
      values[r.name + "_per_s"] = r.per_s;
    values.update({{"step_s", m.step_s},
                   {"data_wait_s", m.data_wait_s},
                   {"comm_wait_s", m.comm_wait_s},
                   {"wire_bytes", m.wire_bytes},
                   {"wire_dense_bytes", m.wire_dense_bytes},
                   {"memory_peak_bytes", m.memory_peak_bytes},
                   {"nonfinite_steps", m.nonfinite_steps}});
    write("step", values);
  }
  void evaluation(const EvaluationMetrics& m) override {
    ordered_json values = {{"step", m.step}};
    for (const NamedValue& v : m.values)
      values[v.name] = v.value;
    values["seconds"] = m.seconds;
    write("evaluation", values);
  }
  void checkpoint(const CheckpointMetrics& m) override {
    write("checkpoint", {{"step", m.step},
                         {"committed", m.committed},
                         {"path", m.path},
                         {"why", m.why},
                         {"bytes", m.bytes},
                         {"seconds", m.seconds}});
  }
  void warning(std::string_view text) override { write("warning", {{"text", text}}); }
  void note(std::string_view text) override { write("note", {{"text", text}}); }

 private:
  void write(const char* event, const ordered_json& values) {
    ordered_json line = {{"schema", kMetricsSchema}, {"event", event}, {"time", clock_()}};
    line.update(values);
    // A text that is not UTF-8, such as a file name, is no reason to stop.
    file_.append(line.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + '\n');
  }

  MetricsFile file_;
  WallClock clock_;
};

}  // namespace

WallClock system_wall_clock() {
  return [] {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
  };
}

std::unique_ptr<MetricsSink> make_json_lines_sink(const std::string& path, OnTrouble on_trouble,
                                                  WallClock clock) {
  return std::make_unique<JsonLinesSink>(path, std::move(on_trouble), std::move(clock));
}

}  // namespace gradwire
