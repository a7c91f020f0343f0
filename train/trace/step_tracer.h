// Writes the timeline of every n-th step of one rank into its trace file. Owns the file, which it
// begins anew; trouble with it is told once and costs the trace, never the run.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "comm/clock_offset.h"
#include "train/metrics/metrics_file.h"
#include "train/step_observer.h"
#include "train/trace/trace_file.h"

namespace gradwire {

struct TraceOptions {
  std::int64_t every = 1;
  std::string path;
  TraceHead head;
  std::function<double()> now_s;        // the clock of Pipeline::timeline()
  std::function<ClockOffset()> offset;  // collective; asked at the begin of every traced step
  OnTrouble on_trouble;
};

class StepTracer final : public StepObserver {
 public:
  explicit StepTracer(TraceOptions options);
  void step_begins(std::int64_t step) override;
  void action_begins(const Action&) override {}
  void part_begins(StepPart part) override;
  void step_ends(std::span<const TimelineEvent> actions) override;

 private:
  void end_part(double now_s);

  TraceOptions options_;
  MetricsFile file_;
  bool traces_ = false;  // this step
  ClockOffset offset_;
  TraceStep step_;
};

}  // namespace gradwire
