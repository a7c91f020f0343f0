#include "optim/schedule.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

constexpr std::array kDecays = {Decay::kConstant, Decay::kLinear, Decay::kCosine,
                                Decay::kInverseSqrt};

// The share of the peak once `step` is past the warm-up.
double decayed_share(const ScheduleConfig& c, std::int64_t step) {
  const double past = static_cast<double>(step - c.warmup_steps);
  const double span = static_cast<double>(c.total_steps - c.warmup_steps);
  const double progress = span > 0.0 ? std::min(1.0, past / span) : 1.0;
  switch (c.decay) {
    case Decay::kConstant: return 1.0;
    case Decay::kLinear: return 1.0 - (1.0 - c.final_ratio) * progress;
    case Decay::kCosine:
      return c.final_ratio +
             (1.0 - c.final_ratio) * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
    case Decay::kInverseSqrt: {
      const double warmup = static_cast<double>(std::max<std::int64_t>(c.warmup_steps, 1));
      return std::max(c.final_ratio, std::sqrt(warmup / static_cast<double>(step)));
    }
  }
  return 1.0;
}

}  // namespace

const char* name_of(Decay decay) {
  switch (decay) {
    case Decay::kConstant: return "constant";
    case Decay::kLinear: return "linear";
    case Decay::kCosine: return "cosine";
    case Decay::kInverseSqrt: return "inverse_sqrt";
  }
  return "?";
}

Decay decay_named(std::string_view name) {
  for (const Decay d : kDecays) {
    if (name == name_of(d)) return d;
  }
  throw Error(ErrorKind::kConfig,
              fmt::format("no schedule '{}': use constant, linear, cosine or inverse_sqrt", name));
}

void check_schedule(const ScheduleConfig& c) {
  const auto refuse = [](const char* field, auto value, const char* need) {
    throw Error(ErrorKind::kConfig,
                fmt::format("schedule: {} must be {}, got {}", field, need, value));
  };
  const bool ends = c.decay == Decay::kLinear || c.decay == Decay::kCosine;
  if (!std::isfinite(c.peak_lr) || c.peak_lr < 0.0) refuse("peak_lr", c.peak_lr, ">= 0");
  if (c.warmup_steps < 0) refuse("warmup_steps", c.warmup_steps, ">= 0");
  if (!(c.final_ratio >= 0.0 && c.final_ratio <= 1.0)) {
    refuse("final_ratio", c.final_ratio, "in [0, 1]");
  }
  if (ends && c.total_steps < std::max<std::int64_t>(c.warmup_steps, 1)) {
    refuse("total_steps", c.total_steps, ">= 1 and >= warmup_steps");
  }
}

double lr_at(const ScheduleConfig& config, std::int64_t step) {
  if (step <= config.warmup_steps) {
    return config.peak_lr * static_cast<double>(step) / static_cast<double>(config.warmup_steps);
  }
  return config.peak_lr * decayed_share(config, step);
}

}  // namespace gradwire
