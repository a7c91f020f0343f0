// Hands what happens in a run to every sink. Has none on ranks other than 0, where it is silent.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "train/metrics/metrics.h"

namespace gradwire {

class Reporter final : public MetricsSink {
 public:
  void add(std::unique_ptr<MetricsSink> sink) { sinks_.push_back(std::move(sink)); }

  void started(std::int64_t step) override {
    each([&](MetricsSink& s) { s.started(step); });
  }
  void step(const StepMetrics& m) override {
    each([&](MetricsSink& s) { s.step(m); });
  }
  void evaluation(const EvaluationMetrics& m) override {
    each([&](MetricsSink& s) { s.evaluation(m); });
  }
  void checkpoint(const CheckpointMetrics& m) override {
    each([&](MetricsSink& s) { s.checkpoint(m); });
  }
  void warning(std::string_view text) override {
    each([&](MetricsSink& s) { s.warning(text); });
  }
  void note(std::string_view text) override {
    each([&](MetricsSink& s) { s.note(text); });
  }

 private:
  template <class F>
  void each(const F& f) {
    for (const std::unique_ptr<MetricsSink>& s : sinks_)
      f(*s);
  }

  std::vector<std::unique_ptr<MetricsSink>> sinks_;
};

}  // namespace gradwire
