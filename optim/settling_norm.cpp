#include "optim/settling_norm.h"

#include <cmath>
#include <cstdlib>

#include <fmt/format.h>

#include "core/error.h"

namespace gradwire {
namespace {

constexpr double kStableRatio = 0.96;

std::int64_t window_of(double beta2) {
  if (!(beta2 >= 0.0 && beta2 < 1.0)) {
    throw Error(ErrorKind::kConfig,
                fmt::format("second moment: beta2 is {}, not in [0, 1)", beta2));
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

double bias_corrected(double beta, double mean, std::int64_t updates) {
  return updates == 0 ? 0.0 : mean / (1.0 - std::pow(beta, static_cast<double>(updates)));
}

SettlingNorm::SettlingNorm(double beta2) : beta2_(beta2), window_(window_of(beta2)) {}

double SettlingNorm::norm() const {
  return bias_corrected(beta2_, mean_, updates_);
}

double SettlingNorm::ratio() const {
  return recent_.front() / recent_.back();
}

bool SettlingNorm::settled() const {
  return moving_ >= 2 * window_ && ratio() >= kStableRatio && ratio() <= 1.0 / kStableRatio;
}

void SettlingNorm::observe(double squared_norm) {
  ++updates_;
  ++moving_;
  mean_ = beta2_ * mean_ + (1.0 - beta2_) * squared_norm;
  recent_.push_back(norm());
  if (std::ssize(recent_) > window_ + 1) recent_.pop_front();
}

void SettlingNorm::stop() {
  moving_ = 0;
  recent_.clear();
}

void SettlingNorm::visit_state(StateVisitor& visitor, std::string_view prefix) {
  const auto name = [&](const char* what) { return fmt::format("{}/{}", prefix, what); };
  visitor.number(name("norm"), mean_);
  visitor.number(name("updates"), updates_);
  visitor.number(name("moving"), moving_);
  std::string recent = text_of(recent_);
  visitor.text(name("recent"), recent);
  recent_ = numbers_in(recent);
}

std::string SettlingNorm::text() const {
  std::deque<double> all = recent_;
  all.insert(all.begin(), {mean_, static_cast<double>(updates_), static_cast<double>(moving_)});
  return text_of(all);
}

void SettlingNorm::read(const std::string& text) {
  constexpr std::ptrdiff_t kHead = 3;
  const std::deque<double> all = numbers_in(text);
  if (std::ssize(all) < kHead) {
    throw Error(ErrorKind::kCheckpoint,
                fmt::format("second moment: '{}' does not say how far it has settled", text));
  }
  mean_ = all[0];
  updates_ = static_cast<std::int64_t>(all[1]);
  moving_ = static_cast<std::int64_t>(all[2]);
  recent_.assign(all.begin() + kHead, all.end());
}

}  // namespace gradwire
