#include "jobs/job.h"

#include <numeric>

#include "core/error.h"

namespace gradwire {

std::int64_t ModelOutline::parameters(UnitRange of) const {
  std::int64_t sum = 0;
  for (int i = of.begin; i < of.end; ++i)
    sum += layers[static_cast<std::size_t>(i)].parameters;
  const bool both_ends = of.begin == 0 && of.end == size();
  return both_ends ? sum - tied_elements : sum;
}

const JobRecipe& job_of(const Recipe& recipe) {
  const auto* job = dynamic_cast<const JobRecipe*>(recipe.job.sections());
  check(job != nullptr, ErrorKind::kInternal, "a recipe without the sections of its job");
  return *job;
}

}  // namespace gradwire
