#include <fmt/format.h>

#include "core/error.h"
#include "launch/commands/commands.h"
#include "launch/start/console.h"
#include "launch/start/environment.h"
#include "launch/start/local_job.h"

namespace gradwire {

ExitCode run_launch(const LaunchArgs& args) {
  const RankEnvironment env = read_rank_environment();
  if (env.size > 1) {
    throw Error(ErrorKind::kUsage,
                fmt::format("launch: {} started this process as rank {} of {} already: leave "
                            "`launch` out",
                            env.source, env.rank, env.size));
  }
  std::vector<std::string> command = {"gradwire"};
  command.insert(command.end(), args.command.begin(), args.command.end());
  LocalJob job;
  job.start(args.ranks, command);
  const std::vector<RankEnd> ends = job.wait();
  for (const RankEnd& end : ends) {
    const std::string text = describe(end);
    if (!text.empty()) console().say("gradwire: launch: " + text);
  }
  return static_cast<ExitCode>(job_exit_code(ends));
}

}  // namespace gradwire
