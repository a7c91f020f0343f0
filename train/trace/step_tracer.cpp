#include "train/trace/step_tracer.h"

#include <filesystem>
#include <utility>

namespace gradwire {
namespace {

const char* name_of(StepPart part) {
  switch (part) {
    case StepPart::kGradients: return "gradients";
    case StepPart::kAgreement: return "agreement";
    case StepPart::kUpdate: return "update";
  }
  return "?";
}

// What an earlier process left is of no use beside this one's.
const std::string& without_file(const std::string& path) {
  std::error_code ignored;
  std::filesystem::remove(path, ignored);
  return path;
}

}  // namespace

StepTracer::StepTracer(TraceOptions options)
    : options_(std::move(options)), file_(without_file(options_.path), options_.on_trouble) {
  file_.append(to_line(options_.head));
}

void StepTracer::step_begins(std::int64_t step) {
  traces_ = step % options_.every == 0;
  if (!traces_) return;
  offset_ = options_.offset();
  step_ = {step, offset_.error_s, {}, {}};
}

void StepTracer::part_begins(StepPart part) {
  if (!traces_) return;
  const double now_s = options_.now_s() + offset_.offset_s;
  end_part(now_s);
  step_.parts.push_back({options_.head.rank, name_of(part), now_s, now_s});
}

void StepTracer::step_ends(std::span<const TimelineEvent> actions) {
  if (!traces_) return;
  end_part(options_.now_s() + offset_.offset_s);
  for (const TimelineEvent& e : actions) {
    step_.actions.push_back(
        {options_.head.rank, e.action, e.begin_s + offset_.offset_s, e.end_s + offset_.offset_s});
  }
  file_.append(to_line(step_));
}

void StepTracer::end_part(double now_s) {
  if (!step_.parts.empty()) step_.parts.back().end_s = now_s;
}

}  // namespace gradwire
