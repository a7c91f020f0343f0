#include "optim/variance_watch.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {

VarianceWatch::VarianceWatch(double beta2, FreezeConfig config)
    : beta2_(beta2), config_(config), norm_(beta2) {
  if (config.thaw_ratio != 0.0 && !(config.thaw_ratio > 1.0)) {
    throw Error(ErrorKind::kConfig, fmt::format("variance watch: thaw_ratio must be 0 or above 1, "
                                                "got {}",
                                                config.thaw_ratio));
  }
}

void VarianceWatch::observe(std::int64_t step, double squared_norm) {
  if (!std::isfinite(squared_norm)) {
    throw Error(ErrorKind::kNumeric,
                fmt::format("variance watch: squared gradient norm is {}", squared_norm));
  }
  ++observed_;
  fresh_ = beta2_ * fresh_ + (1.0 - beta2_) * squared_norm;
  if (frozen()) return consider_thawing();
  norm_.observe(squared_norm);
  consider_freezing(step);
}

void VarianceWatch::consider_freezing(std::int64_t step) {
  if (config_.freeze_step < 0 || held_) return;
  if (config_.freeze_step > 0 && thaws_ == 0) {
    if (updates() >= config_.freeze_step) freeze("as configured");
    return;
  }
  if (step < config_.lr_warmup_steps || !norm_.settled()) return;
  freeze(fmt::format("||v||_1 ratio {:.3f} over {} updates", norm_.ratio(), window()));
}

void VarianceWatch::freeze(const std::string& why) {
  frozen_ = observed_;
  drifting_ = 0;
  norm_.stop();
  news_ = fmt::format("second moment frozen after {} updates: {}", updates(), why);
}

void VarianceWatch::consider_thawing() {
  if (held_) return thaw("steps are to stay dense");
  if (!woken_.empty()) return thaw(woken_);
  if (config_.thaw_ratio == 0.0) return;
  const double drift = bias_corrected(beta2_, fresh_, observed_) / norm();
  const bool far = drift > config_.thaw_ratio || drift < 1.0 / config_.thaw_ratio;
  drifting_ = far ? drifting_ + 1 : 0;
  if (drifting_ < window()) return;
  thaw(fmt::format("||v||_1 is {:.2f} of the frozen one", drift));
}

void VarianceWatch::thaw(const std::string& why) {
  frozen_ = 0;
  ++thaws_;
  news_ = fmt::format("second moment thawed after {} updates: {}", observed_, why);
  woken_.clear();
}

std::string VarianceWatch::take_log_message() {
  return std::exchange(news_, {});
}

void VarianceWatch::visit_state(StateVisitor& visitor, std::string_view prefix) {
  const auto name = [&](const char* what) { return fmt::format("{}/{}", prefix, what); };
  norm_.visit_state(visitor, prefix);
  visitor.number(name("fresh_norm"), fresh_);
  visitor.number(name("observed"), observed_);
  visitor.number(name("frozen"), frozen_);
  visitor.number(name("thaws"), thaws_);
  visitor.number(name("drifting"), drifting_);
}

}  // namespace gradwire
