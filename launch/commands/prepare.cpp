#include <fmt/format.h>

#include "core/printable.h"
#include "launch/assemble/session.h"
#include "launch/commands/commands.h"
#include "launch/start/console.h"

namespace gradwire {

ExitCode run_prepare(const PrepareArgs& args) {
  Session session(args.recipe, "prepare");
  const std::unique_ptr<Job> job = job_of(session.recipe()).make(session.recipe());
  JobHost host = session.host();
  job->prepare(host, {.content = Content::kTraining,
                      .say = [](const std::string& line) { console().say(line); }});
  if (session.is_first()) fmt::print("{}\n", printable_word(job->data_summary()));
  return ExitCode::kDone;
}

}  // namespace gradwire
