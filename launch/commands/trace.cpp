#include <fstream>
#include <string>

#include <fmt/format.h>

#include "core/error.h"
#include "core/printable.h"
#include "launch/commands/commands.h"
#include "train/trace/trace_file.h"

namespace gradwire {
namespace {

void write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text << std::flush;
  if (!file) throw Error(ErrorKind::kIo, fmt::format("{}: cannot be written", path));
  fmt::print("{}\n", printable_word(path));
}

}  // namespace

ExitCode run_trace(const TraceArgs& args) {
  const StepTrace trace = step_of(read_traces(args.run), args.step);
  const std::vector<TimelineEvent>& actions = trace.all.actions;
  const DryRun planned =
      dry_run(trace.schedule, SendModel::kGrouped, measured_costs(trace.schedule, actions));
  if (!planned.problem.empty()) throw Error(ErrorKind::kData, "schedule: " + planned.problem);
  fmt::print(
      "step {}: bubble {:.1f} %; {:.1f} % by a dry run of the schedule, where every action "
      "takes its stage's mean and messages take no time\n",
      trace.all.step, 100 * bubble_share(actions), 100 * planned.bubble_share);
  if (trace.all.clock_error_s > 0.0) {
    fmt::print("the hosts' clocks agree within {:.0f} us\n", 1e6 * trace.all.clock_error_s);
  }
  const std::string prefix = args.out.empty() ? args.run + "/trace" : args.out;
  write(prefix + ".json", to_chrome_trace(actions, trace.all.parts));
  write(prefix + ".svg", to_svg(actions, fmt::format("Step {} of {}", trace.all.step, args.run)));
  return ExitCode::kDone;
}

}  // namespace gradwire
