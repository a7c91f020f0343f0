#include "models/adapters/adapter_size.h"

#include "core/glob.h"
#include "models/adapters/vectors.h"

namespace gradwire {

SiteKind site_kind_of(AdapterMethod method) {
  switch (method) {
    case AdapterMethod::kLora:
    case AdapterMethod::kDora:
    case AdapterMethod::kIa3:
    case AdapterMethod::kBitFit: return SiteKind::kLinear;
    default: return SiteKind::kSublayer;
  }
}

bool is_target(const Site& site, const AdapterConfig& config) {
  if (site.kind != site_kind_of(config.method)) return false;
  return matches_any(site.name,
                     config.targets.empty() ? default_targets(config.method) : config.targets);
}

std::int64_t adapter_elements(const Site& site, const AdapterConfig& config) {
  const std::int64_t low_rank = config.rank * (site.in + site.out);
  const std::int64_t width = site.out;
  const std::int64_t bottleneck = 2 * config.rank * width + config.rank + width;
  switch (config.method) {
    case AdapterMethod::kLora: return low_rank;
    case AdapterMethod::kDora: return low_rank + site.out;
    case AdapterMethod::kIa3: return ia3_scales_input(site) ? site.in : site.out;
    case AdapterMethod::kBitFit: return site.out;
    case AdapterMethod::kHoulsby:
    case AdapterMethod::kPfeiffer:
    case AdapterMethod::kParallel: return bottleneck;
    case AdapterMethod::kVlPetLarge: return 2 * bottleneck;
    case AdapterMethod::kVlPetMiddleX: return bottleneck + width + 1;
    case AdapterMethod::kVlPetMiddleY: return bottleneck + width;
    case AdapterMethod::kVlPetSmall: return bottleneck + 2 * width + 1;
  }
  return 0;
}

}  // namespace gradwire
