#include "train/metrics/progress.h"

#include <cmath>
#include <cstdlib>
#include <ctime>
#include <string_view>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "core/printable.h"
#include "train/metrics/metrics_file.h"

namespace gradwire {
namespace {

constexpr int kDefaultColumns = 80;
constexpr double kSmoothing = 0.05;  // weight of the newest step in an average
constexpr double kRedraw_s = 0.1;

// Exponentially weighted; the first value counts in full.
class Average {
 public:
  void add(double x) {
    if (!std::isfinite(x)) return;
    value_ = empty_ ? x : value_ + kSmoothing * (x - value_);
    empty_ = false;
  }
  double value() const { return empty_ ? std::nan("") : value_; }

 private:
  double value_ = 0.0;
  bool empty_ = true;
};

int columns_of(int fd) {
  winsize size = {};
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kDefaultColumns;
}

std::string iso_time(double seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}Z", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

// A value as one word of a key=value line.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < ' ' ? ' ' : c;
  }
  return out + '"';
}

// What both styles know of the run so far.
struct Course {
  Average step_s, loss;
  double eta_s = std::nan("");
  std::int64_t last_checkpoint = -1;

  void add(const StepMetrics& m) {
    step_s.add(m.step_s);
    loss.add(m.loss);
    eta_s = static_cast<double>(m.total_steps - m.step) * step_s.value();
  }
};

std::string terminal_line(const StepMetrics& m, const Course& course) {
  const std::int64_t percent = m.total_steps > 0 ? 100 * m.step / m.total_steps : 0;
  std::string line =
      fmt::format("step {}/{} {}% | loss {:.3f} (avg {:.3f}) | gnorm {:.3g} | lr {:.2g}", m.step,
                  m.total_steps, percent, m.loss, course.loss.value(), m.grad_norm, m.lr);
  for (const Rate& r : m.speed)
    line += fmt::format(" | {} {}/s", short_count(r.per_s), r.unit);
  if (m.wire_bytes > 0) {
    line += fmt::format(" | wire {}/step", short_bytes(static_cast<double>(m.wire_bytes)));
  }
  if (m.wire_bytes > 0 && m.wire_dense_bytes > 0) {
    line += fmt::format(" ({:.1f}% of raw)", 100.0 * static_cast<double>(m.wire_bytes) /
                                                 static_cast<double>(m.wire_dense_bytes));
  }
  line +=
      fmt::format(" | {:.2g} s/step | ETA {}", course.step_s.value(), short_duration(course.eta_s));
  if (course.last_checkpoint >= 0) line += fmt::format(" | ckpt {}", course.last_checkpoint);
  if (m.nonfinite_steps > 0) line += fmt::format(" | skipped {}", m.nonfinite_steps);
  return line;
}

std::string evaluation_text(const EvaluationMetrics& m) {
  std::vector<std::string> values;
  for (const NamedValue& v : m.values)
    values.push_back(fmt::format("{} {:.{}f}", v.name, v.value, v.decimals));
  return fmt::format("step {}: validation {}", m.step, fmt::join(values, ", "));
}

std::string checkpoint_text(const CheckpointMetrics& m) {
  if (!m.committed) return fmt::format("step {}: NOT saved: {}", m.step, m.why);
  return fmt::format("step {}: saved {} ({}, {:.2f} s)", m.step, m.path,
                     short_bytes(static_cast<double>(m.bytes)), m.seconds);
}

class TerminalProgress final : public MetricsSink {
 public:
  TerminalProgress(const ProgressOptions& options, WallClock clock)
      : options_(options), clock_(std::move(clock)), out_(options.fd, "terminal", {}) {}
  ~TerminalProgress() override {
    if (!line_.empty()) out_.append("\n");
  }

  void started(std::int64_t step) override {
    if (step > 0) above(fmt::format("going on after step {}", step));
  }
  void step(const StepMetrics& m) override {
    course_.add(m);
    line_ = terminal_line(m, course_);
    const double now = clock_();
    if (m.step != m.total_steps && std::abs(now - drawn_at_) < kRedraw_s) return;
    drawn_at_ = now;
    out_.append(drawn_line());
  }
  void evaluation(const EvaluationMetrics& m) override { above(evaluation_text(m)); }
  void checkpoint(const CheckpointMetrics& m) override {
    if (m.committed) course_.last_checkpoint = m.step;
    above(checkpoint_text(m));
  }
  void warning(std::string_view text) override { above("warning: " + printable(text)); }
  void note(std::string_view text) override { above(printable(text)); }

 private:
  // A line as wide as the terminal would wrap and could no longer be redrawn.
  std::string drawn_line() const {
    const int columns = options_.columns > 0 ? options_.columns : columns_of(options_.fd);
    return "\r" + line_.substr(0, static_cast<std::size_t>(columns - 1)) + "\x1b[K";
  }
  void above(const std::string& text) {
    out_.append("\r" + text + "\x1b[K\n" + (line_.empty() ? "" : drawn_line()));
  }

  ProgressOptions options_;
  WallClock clock_;
  MetricsFile out_;
  Course course_;
  std::string line_;
  double drawn_at_ = 0.0;
};

class LineProgress final : public MetricsSink {
 public:
  LineProgress(const ProgressOptions& options, WallClock clock)
      : options_(options), clock_(std::move(clock)) {
    if (options.path.empty()) {
      out_ = std::make_unique<MetricsFile>(options.fd, "log", OnTrouble());
    } else {
      out_ = std::make_unique<MetricsFile>(options.path, OnTrouble());
    }
  }

  void started(std::int64_t step) override { write("start", fmt::format("step={}", step)); }
  void step(const StepMetrics& m) override {
    course_.add(m);
    const bool due = m.step % options_.log_every == 0 || m.step == m.total_steps || first_;
    first_ = false;
    if (!due) return;
    std::string speed;
    for (const Rate& r : m.speed)
      speed += fmt::format("{}_per_s={:.6g} ", r.name, r.per_s);
    write("step",
          fmt::format("step={} of={} loss={:.6g} loss_avg={:.6g} grad_norm={:.4g} "
                      "lr={:.4g} epoch={:.4g} {}step_s={:.4g} data_wait_s={:.4g} "
                      "comm_wait_s={:.4g} wire_bytes={} wire_dense_bytes={} "
                      "memory_peak_bytes={} nonfinite_steps={} eta_s={:.0f}",
                      m.step, m.total_steps, m.loss, course_.loss.value(), m.grad_norm, m.lr,
                      m.epoch, speed, m.step_s, m.data_wait_s, m.comm_wait_s, m.wire_bytes,
                      m.wire_dense_bytes, m.memory_peak_bytes, m.nonfinite_steps, course_.eta_s));
  }
  void evaluation(const EvaluationMetrics& m) override {
    std::string pairs = fmt::format("step={}", m.step);
    for (const NamedValue& v : m.values)
      pairs += fmt::format(" {}={:.6g}", v.name, v.value);
    write("evaluation", fmt::format("{} seconds={:.3g}", pairs, m.seconds));
  }
  void checkpoint(const CheckpointMetrics& m) override {
    write("checkpoint", m.committed
                            ? fmt::format("step={} committed=true bytes={} seconds={:.3g} path={}",
                                          m.step, m.bytes, m.seconds, quoted(m.path))
                            : fmt::format("step={} committed=false why={}", m.step, quoted(m.why)));
  }
  void warning(std::string_view text) override { write("warning", "text=" + quoted(text)); }
  void note(std::string_view text) override { write("note", "text=" + quoted(text)); }

 private:
  void write(const char* event, const std::string& pairs) {
    out_->append(fmt::format("time={} event={} {}\n", iso_time(clock_()), event, pairs));
  }

  ProgressOptions options_;
  WallClock clock_;
  std::unique_ptr<MetricsFile> out_;
  Course course_;
  bool first_ = true;
};

}  // namespace

ProgressStyle progress_style(bool is_terminal, const char* no_color, const char* term) {
  const bool refused = no_color != nullptr && *no_color != '\0';
  const bool capable = term != nullptr && std::string_view(term) != "dumb";
  return is_terminal && !refused && capable ? ProgressStyle::kTerminal : ProgressStyle::kLines;
}

ProgressStyle progress_style(int fd) {
  return progress_style(::isatty(fd) == 1, std::getenv("NO_COLOR"), std::getenv("TERM"));
}

std::unique_ptr<MetricsSink> make_progress_sink(const ProgressOptions& options, WallClock clock) {
  if (options.style == ProgressStyle::kTerminal) {
    return std::make_unique<TerminalProgress>(options, std::move(clock));
  }
  return std::make_unique<LineProgress>(options, std::move(clock));
}

std::string short_count(double x) {
  constexpr std::string_view kUnits = " kMGT";
  std::size_t unit = 0;
  // 999.95 would be rounded to 1000.0.
  for (; std::abs(x) >= 999.95 && unit + 1 < kUnits.size(); x /= 1000.0)
    ++unit;
  return unit == 0 ? fmt::format("{:.0f}", x) : fmt::format("{:.1f}{}", x, kUnits[unit]);
}

std::string short_bytes(double bytes) {
  std::string text = short_count(bytes);
  const bool has_unit = text.back() > '9';
  const std::string unit = has_unit ? std::string(1, text.back()) : "";
  if (has_unit) text.pop_back();
  return fmt::format("{} {}B", text, unit);
}

std::string short_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0.0 || seconds > 1e9) return "?";
  const auto s = static_cast<std::int64_t>(std::llround(seconds));
  constexpr std::int64_t kMinute = 60, kHour = 3600, kDay = 86400;
  if (s < kMinute) return fmt::format("{}s", s);
  if (s < kHour) return fmt::format("{}m{:02}", s / kMinute, s % kMinute);
  if (s < kDay) return fmt::format("{}h{:02}", s / kHour, s % kHour / kMinute);
  return fmt::format("{}d{:02}h", s / kDay, s % kDay / kHour);
}

}  // namespace gradwire
