// When Adam's second moment v may be frozen, and when it has drifted so far that it must not stay
// so. Sees one number per update, the squared norm of the clipped mean gradient: its exponential
// mean is the sum of v over all coordinates, ||v||_1, so that no pass over memory is needed. All
// ranks see the same numbers and decide the same.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/state.h"
#include "optim/settling_norm.h"

namespace gradwire {

struct FreezeConfig {
  std::int64_t freeze_step = 0;  // > 0: freeze after so many updates; 0: by the rule; < 0: never
  std::int64_t lr_warmup_steps = 0;  // the rule waits until the learning rate has risen
  double thaw_ratio = 2.0;           // thaw if ||v||_1 would have moved by this factor; 0: never
};

// Freezes at the first update after which v has settled (optim/settling_norm.h). Frozen, ||v||_1 is
// followed as if v still moved; once it has been off the frozen one by more than thaw_ratio for D
// updates without a break, v thaws: it goes on from where it stood, and is frozen again by the
// rule, counted from there (freeze_step is for the first time alone). A spike of less than about D
// times ||v||_1 is forgotten before that.
class VarianceWatch {
 public:
  // Errors: kConfig for a beta2 outside [0, 1) or a thaw_ratio that is neither 0 nor above 1.
  VarianceWatch(double beta2, FreezeConfig config);

  bool frozen() const { return frozen_ != 0; }
  bool just_frozen() const { return frozen() && frozen_ == observed_; }  // no update since
  // That v has seen: for its bias correction.
  std::int64_t updates() const { return norm_.updates(); }
  std::int64_t window() const { return norm_.window(); }  // D
  double norm() const { return norm_.norm(); }            // ||v||_1, bias-corrected

  // After update number `step` of the schedule. Not frozen, it was one of v as well. Errors:
  // kNumeric if the norm is not finite.
  void observe(std::int64_t step, double squared_norm);
  // v thaws with the next update, whatever thaw_ratio is: some of what it stands for has had its
  // first gradients since it was frozen. `why` is for the log.
  void wake(std::string why) { woken_ = std::move(why); }
  // While held, v moves: it is not frozen, and thaws with the next update where it was.
  void hold(bool held) { held_ = held; }
  // What has changed since the last call, for the log.
  std::string take_log_message();
  void visit_state(StateVisitor& visitor, std::string_view prefix);

 private:
  void consider_freezing(std::int64_t step);
  void consider_thawing();
  void freeze(const std::string& why);
  void thaw(const std::string& why);

  double beta2_;
  FreezeConfig config_;
  SettlingNorm norm_;          // of v: stands still while v does
  double fresh_ = 0.0;         // never stands still
  std::int64_t observed_ = 0;  // all updates
  std::int64_t frozen_ = 0;    // after so many of them; 0: not
  std::int64_t thaws_ = 0;
  std::int64_t drifting_ = 0;  // updates in a row with drift
  bool held_ = false;
  std::string woken_;
  std::string news_;
};

}  // namespace gradwire
