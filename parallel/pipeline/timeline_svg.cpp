#include <algorithm>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "parallel/pipeline/timeline.h"

namespace gradwire {
namespace {

// Pixels.
constexpr double kLeft = 72, kRight = 24, kTop = 56, kRow = 34, kBox = 24, kFoot = 76;
constexpr double kLeast = 860, kMost = 6000, kReadable = 22, kVisible = 0.5;

constexpr const char* kStyle =
    "text{font-family:Helvetica,Arial,'DejaVu Sans',sans-serif;fill:#2b3038}"
    ".n{font-size:11px;text-anchor:middle;fill:#fff}"
    ".d{font-size:11px;text-anchor:middle}"
    ".s{font-size:12px}.m{font-size:12px;text-anchor:middle;fill:#68707c}"
    ".e{font-size:12px;text-anchor:end}.t{font-size:16px;font-weight:bold}";

struct Colour {
  double red, green, blue;
};

Colour colour_of(Act act) {
  switch (act) {
    case Act::kForward: return {57, 106, 177};
    case Act::kBackward: return {46, 139, 108};
    case Act::kBackwardInput: return {38, 150, 160};
    case Act::kBackwardWeight: return {222, 138, 40};
    case Act::kReduce:
    case Act::kTie: return {150, 90, 170};
    default: return {150, 156, 166};
  }
}

// 0: as it is; 1: white.
std::string paler(const Colour& c, double by) {
  const auto mix = [by](double v) { return static_cast<int>(std::lround(v + (255 - v) * by)); };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(c.red), mix(c.green), mix(c.blue));
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      default: out += c;
    }
  }
  return out;
}

class Drawing {
 public:
  explicit Drawing(std::span<const TimelineEvent> events) : events_(events) {
    double shortest_s = 0.0;
    for (const TimelineEvent& e : events) {
      const double length_s = e.end_s - e.begin_s;
      begin_s_ = &e == events.data() ? e.begin_s : std::min(begin_s_, e.begin_s);
      end_s_ = &e == events.data() ? e.end_s : std::max(end_s_, e.end_s);
      ranks_ = std::max(ranks_, e.rank + 1);
      stages_ = std::max(stages_, e.action.stage + 1);
      const bool shorter = shortest_s == 0.0 || length_s < shortest_s;
      if (is_compute(e.action.act) && length_s > 0 && shorter) shortest_s = length_s;
    }
    const double span_s = end_s_ - begin_s_;
    const double wanted = shortest_s > 0 ? kReadable * span_s / shortest_s : kLeast;
    width_ = std::clamp(wanted, kLeast, kMost);
    scale_ = span_s > 0 ? width_ / span_s : 1.0;
  }

  std::string svg(std::string_view title) {
    const double width = kLeft + width_ + kRight, height = bottom() + kFoot;
    out_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
        "viewBox=\"0 0 {0:.0f} {1:.0f}\">\n<style>{2}</style>\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
        width, height, kStyle);
    text(kLeft, 30, "t", escaped(title));
    text(kLeft + width_, 30, "e", fmt::format("bubble {:.1f} %", 100 * bubble_share(events_)));
    for (int r = 0; r < ranks_; ++r) {
      text(kLeft - 12, top_of(r) + 17, "e", fmt::format("rank {}", r));
      rectangle(kLeft, top_of(r), width_, kBox, "#f1f3f5");
    }
    axis();
    for (const TimelineEvent& e : events_)
      event(e);
    legend();
    return out_ + "</svg>\n";
  }

 private:
  double bottom() const { return kTop + ranks_ * kRow; }
  double x_of(double s) const { return kLeft + (s - begin_s_) * scale_; }
  static double top_of(int rank) { return kTop + rank * kRow; }

  void text(double x, double y, const char* style, const std::string& what) {
    out_ +=
        fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"{}\">{}</text>\n", x, y, style, what);
  }

  void rectangle(double x, double y, double width, double height, const std::string& fill,
                 const std::string& hint = "") {
    out_ += fmt::format(
        "<rect x=\"{:.2f}\" y=\"{:.1f}\" width=\"{:.2f}\" height=\"{:.1f}\" fill=\"{}\"{}\n", x, y,
        width, height, fill, hint.empty() ? "/>" : "><title>" + hint + "</title></rect>");
  }

  void event(const TimelineEvent& e) {
    const double x = x_of(e.begin_s), width = (e.end_s - e.begin_s) * scale_;
    const Colour colour = colour_of(e.action.act);
    const std::string hint = fmt::format("{}: {:.6g} s to {:.6g} s", escaped(to_text(e.action)),
                                         e.begin_s - begin_s_, e.end_s - begin_s_);
    if (!is_compute(e.action.act)) {
      if (visible(e)) rectangle(x, top_of(e.rank) + kBox + 1, width, 4, paler(colour, 0), hint);
      return;
    }
    const int chunks = std::max(1, stages_ / ranks_), chunk = e.action.stage / ranks_;
    const double pale = chunks == 1 ? 0.0 : 0.6 * chunk / (chunks - 1);
    rectangle(x + 0.5, top_of(e.rank), std::max(width - 1, 0.5), kBox, paler(colour, pale), hint);
    const std::string number = fmt::format("{}", e.action.micro);
    if (width >= 4 + 7 * static_cast<double>(number.size())) {
      text(x + width / 2, top_of(e.rank) + 16, pale > 0.4 ? "d" : "n", number);
    }
  }

  // About one mark each 90 pixels, at 1, 2 or 5 times a power of ten.
  void axis() {
    const double rough_s = 90 / scale_;
    const double power = std::pow(10.0, std::floor(std::log10(rough_s)));
    const double factor = rough_s / power;
    const double step_s = power * (factor <= 1 ? 1 : factor <= 2 ? 2 : factor <= 5 ? 5 : 10);
    const auto [unit, per_s] = step_s >= 0.1    ? std::pair("s", 1.0)
                               : step_s >= 1e-4 ? std::pair("ms", 1e3)
                                                : std::pair("&#181;s", 1e6);
    const int marks = static_cast<int>((end_s_ - begin_s_) / step_s + 1e-9);
    for (int i = 0; i <= marks; ++i) {
      const double x = kLeft + i * step_s * scale_;
      rectangle(x - 0.5, kTop - 4, 1, bottom() - kTop + 6, "#d9dde2");
      text(x, bottom() + 18, "m", fmt::format("{:.6g} {}", i * step_s * per_s, unit));
    }
  }

  bool visible(const TimelineEvent& e) const {
    return is_compute(e.action.act) || (e.end_s - e.begin_s) * scale_ >= kVisible;
  }

  // What there is to see, in the order of Act.
  void legend() {
    double x = kLeft;
    std::vector<std::string_view> named;
    for (int a = 0; a <= static_cast<int>(Act::kTie); ++a) {
      const Act act = static_cast<Act>(a);
      const std::string_view kind = is_message(act) ? "message" : kind_of(act);
      const bool seen = std::any_of(events_.begin(), events_.end(), [&](const TimelineEvent& e) {
        return e.action.act == act && visible(e);
      });
      if (!seen || std::find(named.begin(), named.end(), kind) != named.end()) continue;
      named.push_back(kind);
      rectangle(x, bottom() + 42, 14, 14, paler(colour_of(act), 0));
      text(x + 20, bottom() + 54, "s", std::string(kind));
      x += 44 + 7 * static_cast<double>(kind.size());
    }
    if (stages_ > ranks_) text(x, bottom() + 54, "s", "paler: later stages of the rank");
  }

  std::span<const TimelineEvent> events_;
  double begin_s_ = 0.0, end_s_ = 0.0;
  int ranks_ = 0, stages_ = 0;
  double width_ = 0.0, scale_ = 1.0;  // of the plot; pixels per second
  std::string out_;
};

}  // namespace

std::string to_svg(std::span<const TimelineEvent> events, std::string_view title) {
  return Drawing(events).svg(title);
}

}  // namespace gradwire
