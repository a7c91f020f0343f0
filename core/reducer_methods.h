#pragma once

#include <array>
#include <string_view>

#include "core/exchange.h"

namespace gradwire {

// The methods of compressed exchange that there are (compress.method of a recipe), and what each
// can carry. An estimator sends differences: what travelled last is not the momentum.
struct ReducerMethod {
  std::string_view name;
  ExchangeKinds supports;
};

inline constexpr ExchangeKinds kAllExchanges = {ExchangeKind::kGradient, ExchangeKind::kMomentum,
                                                ExchangeKind::kRecalledMomentum,
                                                ExchangeKind::kDrift};
inline constexpr ExchangeKinds kAllButRecalled = {ExchangeKind::kGradient, ExchangeKind::kMomentum,
                                                  ExchangeKind::kDrift};

inline constexpr std::array<ReducerMethod, 6> kReducerMethods = {{
    {"plain", kAllExchanges},
    {"ef", kAllExchanges},
    {"ef21", kAllButRecalled},
    {"ef21_sgdm", kAllButRecalled},
    {"econtrol", kAllButRecalled},
    {"powersgd", kAllButRecalled},
}};

// No exchanges of an unknown method.
constexpr ExchangeKinds supported_by(std::string_view method) {
  for (const ReducerMethod& m : kReducerMethods)
    if (m.name == method) return m.supports;
  return {};
}

}  // namespace gradwire
