#include "train/measure.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"

namespace gradwire {

std::optional<double> value_of(std::span<const Sum> sums, std::string_view name) {
  const auto found = std::ranges::find(sums, name, &Sum::name);
  return found == sums.end() ? std::nullopt : std::optional(found->value());
}

const Metric& metric_named(std::span<const Metric> metrics, std::string_view name) {
  const auto found = std::ranges::find(metrics, name, &Metric::name);
  if (found != metrics.end()) return *found;
  std::vector<std::string> names;
  for (const Metric& m : metrics)
    names.push_back(m.name);
  throw Error(ErrorKind::kConfig,
              fmt::format("no metric '{}': there is {}", name, fmt::join(names, ", ")));
}

std::vector<NamedValue> shown(std::span<const Metric> metrics, std::span<const Sum> sums) {
  std::vector<NamedValue> values;
  for (const Sum& sum : sums) {
    const auto metric = std::ranges::find(metrics, sum.name, &Metric::name);
    const Metric& how = metric == metrics.end() ? Metric{} : *metric;
    values.push_back({sum.name, sum.value(), how.decimals});
    if (how.derived == nullptr) continue;
    values.push_back({how.derived_name, how.derived(sum.value()), how.derived_decimals});
  }
  return values;
}

}  // namespace gradwire
