#include "launch/doctor/doctor.h"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

#include "core/printable.h"
#include "launch/commands/commands.h"

namespace gradwire {

std::string to_text(const Finding& f) {
  const char* verdict = f.verdict == Verdict::kOk     ? "ok"
                        : f.verdict == Verdict::kWarn ? "warn"
                                                      : "FAIL";
  const std::string fix =
      f.fix.empty() ? "" : fmt::format("\n{:22}-> {}", "", printable_word(f.fix));
  return fmt::format("{:4}  {:16}{}{}", verdict, f.what, printable_word(f.found), fix);
}

ExitCode run_doctor(const DoctorArgs& args) {
  const EnvironmentLookup lookup = [](const char* name) { return std::getenv(name); };
  // MPI first: it is tried in a child process, which must not inherit started threads.
  Findings all = check_mpi(lookup);
  for (const Findings& more : {check_processor(), check_libraries(), check_gpus(), check_memory(),
                               check_storage(args.dir), check_network()}) {
    all.insert(all.end(), more.begin(), more.end());
  }
  for (const Finding& f : all)
    fmt::print("{}\n", to_text(f));
  const auto failures = std::ranges::count(all, Verdict::kFail, &Finding::verdict);
  if (failures > 0) fmt::print("{} of {} checks failed\n", failures, all.size());
  return failures > 0 ? ExitCode::kUsage : ExitCode::kDone;
}

}  // namespace gradwire
