// Timelines of training steps in the folder of a run, a file per rank: a line of JSON that says
// what the rank is, then one for each traced step. A last line that was cut off is none. Times are
// seconds on the steady clock of rank 0.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "parallel/pipeline/dry_run.h"
#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/timeline.h"

namespace gradwire {

struct TraceHead {
  int rank = 0;
  int ranks = 1;
  int place = 0;  // the rank of the schedule that it is
  std::string host;
  Schedule schedule;
};

struct TraceStep {
  std::int64_t step = 0;
  double clock_error_s = 0.0;          // of the times, at most
  std::vector<TimelineEvent> actions;  // of the program, in order; their rank is the world's
  std::vector<TimelineSpan> parts;     // what came after them
};

std::string to_line(const TraceHead& head);
std::string to_line(const TraceStep& step);

struct RankTrace {
  TraceHead head;
  std::map<std::int64_t, TraceStep> steps;
};

std::string trace_path(const std::string& run_dir, int rank);  // DIR/trace/rank-00003.jsonl
// Errors: kData with file and line, also for a step whose actions are not those of the schedule.
RankTrace read_rank_trace(const std::string& path);
// Of all ranks of the run. Errors: kData, also if files are missing or not of one run.
std::vector<RankTrace> read_traces(const std::string& run_dir);

// Of all ranks.
struct StepTrace {
  Schedule schedule;
  TraceStep all;
};
// The step, or the last one that all ranks have. Errors: kData.
StepTrace step_of(const std::vector<RankTrace>& traces, std::optional<std::int64_t> step);

// What an action of each kind took on average, by stage. Messages take no time of their own.
Costs measured_costs(const Schedule& schedule, const std::vector<TimelineEvent>& events);

}  // namespace gradwire
