#include "train/compression_switch.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "parallel/agreement.h"

namespace gradwire {

CompressionSwitch::CompressionSwitch(Communicator& comm, double least_gain,
                                     std::function<ExchangeProbe(Context&)> probe)
    : comm_(comm), least_gain_(least_gain), probe_(std::move(probe)), ranks_(comm.size()) {}

std::vector<std::string> CompressionSwitch::start(Context& cx, std::int64_t step) {
  std::vector<std::string> notes;
  if (comm_.size() == 1) return notes;
  const bool other_ranks = ranks_ != comm_.size();
  decides_ = decided_ == 0 || other_ranks;
  predict_at_ =
      decided_ == 0 && !other_ranks ? std::max(step + 1, kMeasuredSteps) : step + kMeasuredSteps;
  if (!decides_) {
    notes.push_back(
        fmt::format("compression {}, as decided before", compress_ != 0 ? "on" : "off"));
  } else if (decided_ != 0) {
    notes.push_back(
        fmt::format("whether to compress is decided anew: it was for {} ranks, this run has {}",
                    ranks_, comm_.size()));
  }
  ExchangeProbe probe = probe_(cx);
  forecast_ = probe.forecast;
  notes.push_back(std::move(probe.what));
  return notes;
}

bool CompressionSwitch::holds_dense() const {
  if (least_gain_ == 0.0) return false;
  if (comm_.size() == 1 || decided_ != 0) return compress_ == 0;
  return true;
}

std::vector<std::string> CompressionSwitch::observe(Context& cx, const TimedStep& s) {
  std::vector<std::string> notes;
  if (comm_.size() == 1) return notes;
  if (!s.dense && dense_.steps > 0 && !std::exchange(switched_, true)) {
    notes.push_back(fmt::format("compressed from step {} on; {}", s.step,
                                compared("dense", dense_, cost_.dense_step_s())));
  }
  const double computing_s = s.seconds - s.wait_s;
  if (std::exchange(first_, false)) {
    first_computing_s_ = computing_s;
  } else {
    (s.dense ? dense_ : compressed_).add(s.seconds);
    computing_.add(computing_s);
  }
  if (!predicted_ && s.step >= predict_at_) {
    notes.push_back(fmt::format("step {}: {}", s.step, predict(cx)));
  }
  return notes;
}

std::string CompressionSwitch::predict(Context& cx) {
  const double mine = computing_.steps > 0 ? computing_.mean() : first_computing_s_;
  cost_ = step_cost(forecast_, max_over_ranks(cx, comm_, mine));
  predicted_ = true;
  if (!decides_) return prediction_text(cost_);
  const Decision decision = decide(cost_, least_gain_);
  ranks_ = comm_.size();
  decided_ = 1;
  compress_ = decision.compress ? 1 : 0;
  return decision.why;
}

std::string CompressionSwitch::compared(const char* what, const Phase& phase,
                                        double predicted_s) const {
  const std::string predicted =
      predicted_ ? fmt::format("{:.3g} s were predicted", predicted_s) : "not predicted";
  return fmt::format("a {} step took {:.3g} s on average ({} of them), {}", what, phase.mean(),
                     phase.steps, predicted);
}

std::vector<std::string> CompressionSwitch::summary() const {
  std::vector<std::string> notes;
  if (dense_.steps > 0) notes.push_back(compared("dense", dense_, cost_.dense_step_s()));
  if (compressed_.steps > 0)
    notes.push_back(compared("compressed", compressed_, cost_.compressed_step_s()));
  return notes;
}

void CompressionSwitch::visit_state(StateVisitor& v) {
  v.number("compression/ranks", ranks_);
  v.number("compression/decided", decided_);
  v.number("compression/compress", compress_);
}

}  // namespace gradwire
