#include "models/adapters/adapter_config.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

// By AdapterMethod.
constexpr std::array<std::string_view, 11> kNames = {
    "lora",           "dora",           "ia3",        "bitfit",
    "houlsby",        "pfeiffer",       "parallel",   "vlpet_large",
    "vlpet_middle_x", "vlpet_middle_y", "vlpet_small"};

}  // namespace

std::span<const std::string_view> adapter_method_names() {
  return kNames;
}

AdapterMethod adapter_method_named(std::string_view name) {
  const auto at = std::ranges::find(kNames, name);
  if (at == kNames.end()) {
    throw Error(ErrorKind::kConfig, fmt::format("adapters.method: no method '{}'", name));
  }
  return static_cast<AdapterMethod>(at - kNames.begin());
}

double AdapterConfig::lora_scale() const {
  const double r = static_cast<double>(rank);
  return alpha / (rslora ? std::sqrt(r) : r);
}

std::vector<std::string> default_targets(AdapterMethod method) {
  switch (method) {
    case AdapterMethod::kLora:
    case AdapterMethod::kDora:
    case AdapterMethod::kBitFit: return {"*_proj"};
    case AdapterMethod::kIa3: return {"*.k_proj", "*.v_proj", "*.down_proj"};
    case AdapterMethod::kPfeiffer:
    case AdapterMethod::kParallel: return {"*.mlp"};
    case AdapterMethod::kHoulsby:
    case AdapterMethod::kVlPetLarge:
    case AdapterMethod::kVlPetMiddleX:
    case AdapterMethod::kVlPetMiddleY:
    case AdapterMethod::kVlPetSmall: return {"*.self_attn", "*.mlp"};
  }
  return {};
}

}  // namespace gradwire
