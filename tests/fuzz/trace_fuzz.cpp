// The trace of a rank, and what `gradwire trace` makes of it.
#include "parallel/pipeline/dry_run.h"
#include "tests/fuzz/harness.h"
#include "train/trace/trace_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return gradwire::fuzz::run(data, size, [](std::string_view bytes) {
    const gradwire::fuzz::MemoryFile file(bytes);
    gradwire::RankTrace trace = gradwire::read_rank_trace(file.path());
    trace.head.rank = 0;
    const gradwire::StepTrace step = gradwire::step_of({std::move(trace)}, {});
    gradwire::dry_run(step.schedule, gradwire::SendModel::kGrouped,
                      gradwire::measured_costs(step.schedule, step.all.actions));
    gradwire::to_chrome_trace(step.all.actions, step.all.parts);
    gradwire::to_svg(step.all.actions, "a run");
  });
}
