#include "launch/assemble/tracing.h"

#include <chrono>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "core/host_name.h"
#include "launch/start/console.h"
#include "train/trace/step_tracer.h"

namespace gradwire {

std::unique_ptr<StepObserver> make_tracer(Session& session, const Schedule& schedule) {
  const std::int64_t every = session.recipe().log.trace_every;
  if (every == 0) return nullptr;
  // Ranks on the host of rank 0 have its clock.
  const std::vector<std::string> hosts = session.ranks().all_gather(host_name());
  std::vector<int> elsewhere;
  for (std::size_t r = 1; r < hosts.size(); ++r)
    if (hosts[r] != hosts[0]) elsewhere.push_back(static_cast<int>(r));

  const int rank = session.env().rank;
  TraceOptions options;
  options.every = every;
  options.path = trace_path(session.run_dir(), rank);
  options.head = {rank, session.env().size, session.mesh().here.pipeline, host_name(), schedule};
  options.now_s = [] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  };
  options.offset = [&session, elsewhere, now_s = options.now_s] {
    Context host = session.cx().on_host();
    return measure_clock_offset(host, session.comm(), elsewhere, now_s);
  };
  options.on_trouble = [prefix = rank_prefix(session.env())](const std::string& what) {
    console().say(fmt::format("{}warning: {}", prefix, what));
  };
  return std::make_unique<StepTracer>(std::move(options));
}

}  // namespace gradwire
