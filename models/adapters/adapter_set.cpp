#include "models/adapters/adapter_set.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "core/glob.h"
#include "models/adapters/adapter_size.h"
#include "models/adapters/bottleneck.h"
#include "models/adapters/lora.h"
#include "models/adapters/vectors.h"
#include "models/adapters/vl_pet.h"

namespace gradwire {
namespace {

std::unique_ptr<Adapter> make_adapter(Context& cx, const Site& site, const std::string& name,
                                      const AdapterConfig& config) {
  switch (config.method) {
    case AdapterMethod::kLora: return make_lora(cx, site, name, config);
    case AdapterMethod::kDora: return make_dora(cx, site, name, config);
    case AdapterMethod::kIa3: return make_ia3(cx, site, name);
    case AdapterMethod::kBitFit: return make_bitfit(cx, site, name);
    case AdapterMethod::kHoulsby:
    case AdapterMethod::kPfeiffer:
    case AdapterMethod::kParallel: return make_bottleneck(cx, site, name, config);
    default: return make_vl_pet(cx, site, name, config);
  }
}

void check_names(const std::vector<std::string>& names) {
  check(!names.empty(), ErrorKind::kConfig, "adapters.names: no name");
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), names[i]) ==
        names.begin() + static_cast<std::ptrdiff_t>(i))
      continue;
    throw Error(ErrorKind::kConfig, fmt::format("adapters.names: '{}' twice", names[i]));
  }
}

}  // namespace

AdapterSet::AdapterSet(Context& cx, const std::vector<Site>& sites, const AdapterConfig& config,
                       std::vector<std::string> names, bool is_part)
    : names_(std::move(names)) {
  check_names(names_);
  const std::vector<std::string> targets =
      config.targets.empty() ? default_targets(config.method) : config.targets;
  std::vector<bool> used(targets.size(), false);
  for (const Site& site : sites) {
    if (site.kind != site_kind_of(config.method)) continue;
    bool is_target = false;
    for (std::size_t i = 0; i < targets.size(); ++i) {
      if (!matches(site.name, targets[i])) continue;
      is_target = used[i] = true;
    }
    if (!is_target) continue;
    by_site_.emplace(site.name, places_.size());
    Place& place = places_.emplace_back(site.name);
    for (const std::string& name : names_)
      place.adapters.push_back(make_adapter(cx, site, name, config));
  }
  for (std::size_t i = 0; i < targets.size() && !is_part; ++i) {
    if (used[i]) continue;
    throw Error(ErrorKind::kConfig,
                fmt::format("adapters.targets: '{}' matches no {}", targets[i],
                            site_kind_of(config.method) == SiteKind::kLinear
                                ? "linear layer, such as 'model.layers.0.self_attn.q_proj'"
                                : "sublayer, such as 'model.layers.0.mlp'"));
  }
}

int AdapterSet::index_of(const std::string& name) const {
  const auto at = std::ranges::find(names_, name);
  if (at == names_.end()) {
    throw Error(ErrorKind::kConfig,
                fmt::format("no adapter '{}': there is {}", name, fmt::join(names_, ", ")));
  }
  return static_cast<int>(at - names_.begin());
}

const AdapterSet::Place* AdapterSet::find(const std::string& site) const {
  const auto at = by_site_.find(site);
  return at == by_site_.end() ? nullptr : &places_[at->second];
}

std::vector<std::string> AdapterSet::sites() const {
  std::vector<std::string> names;
  for (const Place& place : places_)
    names.push_back(place.site);
  return names;
}

Adapter* AdapterSet::at(const std::string& site, int index) const {
  const Place* place = find(site);
  return place == nullptr ? nullptr : place->adapters.at(static_cast<std::size_t>(index)).get();
}

bool AdapterSet::changes_input(const std::string& site) const {
  const Place* place = find(site);
  return place != nullptr && place->adapters.front()->changes_input();
}

void AdapterSet::visit_params(const Visitor& f) {
  for (int i = 0; i < static_cast<int>(names_.size()); ++i)
    for (Parameter* p : parameters_of_adapter(i))
      f(*p);
}

std::vector<Parameter*> AdapterSet::parameters_of_adapter(int index, const std::string& prefix) {
  std::vector<Parameter*> params;
  for (const Place& place : places_) {
    if (!place.site.starts_with(prefix)) continue;
    place.adapters.at(static_cast<std::size_t>(index))->visit_params([&](Parameter& p) {
      params.push_back(&p);
    });
  }
  return params;
}

}  // namespace gradwire
