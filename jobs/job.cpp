#include "jobs/job.h"

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

std::int64_t ModelOutline::parameters(UnitRange of) const {
  std::int64_t sum = 0;
  for (int i = of.begin; i < of.end; ++i)
    sum += layers[static_cast<std::size_t>(i)].parameters;
  const bool both_ends = of.begin == 0 && of.end == size();
  return both_ends ? sum - tied_elements : sum;
}

std::int64_t ModelOutline::trained(UnitRange of) const {
  std::int64_t frozen = 0;
  for (int i = of.begin; i < of.end; ++i)
    frozen += layers[static_cast<std::size_t>(i)].frozen;
  const bool both_ends = of.begin == 0 && of.end == size();
  if (both_ends && tied_is_frozen) frozen -= tied_elements;
  return parameters(of) - frozen;
}

std::vector<UnitCost> Job::measure(Context& /*cx*/) {
  std::vector<UnitCost> costs;
  for (const LayerOutline& layer : outline().layers) {
    costs.push_back(layer.memory);
    costs.back().seconds = 1e-9 * static_cast<double>(layer.parameters);
  }
  return costs;
}

void Job::carry_out(std::string_view verb, JobHost&, Task&, const Position&) {
  throw Error(ErrorKind::kInternal, fmt::format("a job without the command '{}'", verb));
}

std::string Job::export_model(JobHost&, Task&, const ExportRequest& request) {
  throw Error(ErrorKind::kUsage,
              fmt::format("export: models of this task cannot be written as {}", request.format));
}

const JobRecipe& job_of(const Recipe& recipe) {
  const auto* job = dynamic_cast<const JobRecipe*>(recipe.job.sections());
  check(job != nullptr, ErrorKind::kInternal, "a recipe without the sections of its job");
  return *job;
}

}  // namespace gradwire
