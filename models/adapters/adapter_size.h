// Where adapters go and how large they are, without making them.
#pragma once

#include "models/adapters/adapter.h"
#include "models/adapters/adapter_config.h"

namespace gradwire {

// What the method is attached to.
SiteKind site_kind_of(AdapterMethod method);
// Whether a site gets an adapter of this configuration.
bool is_target(const Site& site, const AdapterConfig& config);
// Elements of the parameters of one adapter at a site that gets one; the site's weight may be null.
std::int64_t adapter_elements(const Site& site, const AdapterConfig& config);

}  // namespace gradwire
