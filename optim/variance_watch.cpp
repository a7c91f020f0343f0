#include "optim/variance_watch.h"

#include <cmath>
#include <cstdlib>
#include <iterator>
#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

constexpr double kStableRatio = 0.96;

std::int64_t window_of(double beta2) {
  if (!(beta2 >= 0.0 && beta2 < 1.0)) {
    throw Error(ErrorKind::kConfig,
                fmt::format("variance watch: beta2 is {}, not in [0, 1)", beta2));
  }
  // 1 / (1 - 0.999) is a little above 1000.
  constexpr double kRounding = 1e-6;
  return static_cast<std::int64_t>(std::ceil(1.0 / (1.0 - beta2) * (1.0 - kRounding)));
}

std::string text_of(const std::deque<double>& numbers) {
  std::string text;
  for (const double x : numbers)
    text += fmt::format("{:a} ", x);
  return text;
}

std::deque<double> numbers_in(const std::string& text) {
  std::deque<double> numbers;
  const char* at = text.c_str();
  for (char* end = nullptr;; at = end) {
    const double x = std::strtod(at, &end);
    if (end == at) return numbers;
    numbers.push_back(x);
  }
}

}  // namespace

VarianceWatch::VarianceWatch(double beta2, FreezeConfig config)
    : beta2_(beta2), config_(config), window_(window_of(beta2)) {
  if (config.thaw_ratio != 0.0 && !(config.thaw_ratio > 1.0)) {
    throw Error(ErrorKind::kConfig, fmt::format("variance watch: thaw_ratio must be 0 or above 1, "
                                                "got {}",
                                                config.thaw_ratio));
  }
}

double VarianceWatch::corrected(double mean, std::int64_t updates) const {
  return updates == 0 ? 0.0 : mean / (1.0 - std::pow(beta2_, static_cast<double>(updates)));
}

double VarianceWatch::norm() const {
  return corrected(mean_, updates_);
}

void VarianceWatch::observe(std::int64_t step, double squared_norm) {
  if (!std::isfinite(squared_norm)) {
    throw Error(ErrorKind::kNumeric,
                fmt::format("variance watch: squared gradient norm is {}", squared_norm));
  }
  ++observed_;
  fresh_ = beta2_ * fresh_ + (1.0 - beta2_) * squared_norm;
  if (frozen()) return consider_thawing();
  ++updates_;
  ++moving_;
  mean_ = beta2_ * mean_ + (1.0 - beta2_) * squared_norm;
  recent_.push_back(norm());
  if (std::ssize(recent_) > window_ + 1) recent_.pop_front();
  consider_freezing(step);
}

void VarianceWatch::consider_freezing(std::int64_t step) {
  if (config_.freeze_step < 0 || held_) return;
  if (config_.freeze_step > 0 && thaws_ == 0) {
    if (updates_ >= config_.freeze_step) freeze("as configured");
    return;
  }
  if (moving_ < 2 * window_ || step < config_.lr_warmup_steps) return;
  const double ratio = recent_.front() / recent_.back();
  if (ratio >= kStableRatio && ratio <= 1.0 / kStableRatio) {
    freeze(fmt::format("||v||_1 ratio {:.3f} over {} updates", ratio, window_));
  }
}

void VarianceWatch::freeze(const std::string& why) {
  frozen_ = observed_;
  drifting_ = 0;
  recent_.clear();
  news_ = fmt::format("second moment frozen after {} updates: {}", updates_, why);
}

void VarianceWatch::consider_thawing() {
  if (held_) return thaw("steps are to stay dense");
  if (!woken_.empty()) return thaw(woken_);
  if (config_.thaw_ratio == 0.0) return;
  const double drift = corrected(fresh_, observed_) / norm();
  const bool far = drift > config_.thaw_ratio || drift < 1.0 / config_.thaw_ratio;
  drifting_ = far ? drifting_ + 1 : 0;
  if (drifting_ < window_) return;
  thaw(fmt::format("||v||_1 is {:.2f} of the frozen one", drift));
}

void VarianceWatch::thaw(const std::string& why) {
  frozen_ = 0;
  moving_ = 0;
  ++thaws_;
  news_ = fmt::format("second moment thawed after {} updates: {}", observed_, why);
  woken_.clear();
}

std::string VarianceWatch::take_news() {
  return std::exchange(news_, {});
}

void VarianceWatch::visit_state(StateVisitor& visitor, std::string_view prefix) {
  const auto name = [&](const char* what) { return fmt::format("{}/{}", prefix, what); };
  visitor.number(name("norm"), mean_);
  visitor.number(name("updates"), updates_);
  visitor.number(name("fresh_norm"), fresh_);
  visitor.number(name("observed"), observed_);
  visitor.number(name("frozen"), frozen_);
  visitor.number(name("thaws"), thaws_);
  visitor.number(name("moving"), moving_);
  visitor.number(name("drifting"), drifting_);
  std::string recent = text_of(recent_);
  visitor.text(name("recent"), recent);
  recent_ = numbers_in(recent);
}

}  // namespace gradwire
