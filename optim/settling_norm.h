// Whether an exponential mean of squares has settled, as far as its sum over all coordinates tells:
// that sum is the mean of the squared norms of the gradients, one number per update, so that no
// pass over memory is needed. All ranks see the same numbers and decide the same.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "core/state.h"

namespace gradwire {

// Tang et al., "1-bit Adam" (ICML 2021), with D = ceil(1 / (1 - beta2)): settled at an update t
// with 0.96 <= ||v_{t-D}||_1 / ||v_t||_1 <= 1/0.96, both bias-corrected, but not in the first 2 D
// updates since v began to move.
class SettlingNorm {
 public:
  // Errors: kConfig for a beta2 outside [0, 1).
  explicit SettlingNorm(double beta2);

  std::int64_t window() const { return window_; }    // D
  std::int64_t updates() const { return updates_; }  // of v
  double norm() const;                               // ||v||_1, bias-corrected
  double ratio() const;                              // that of D updates ago to it
  bool settled() const;

  void observe(double squared_norm);
  // v stands still from here on; the next update is the first of those in which it moves again,
  // from where it stood.
  void stop();

  // <prefix>/norm, /updates, /moving, /recent.
  void visit_state(StateVisitor& visitor, std::string_view prefix);
  // The same in one text, never empty, and back.
  std::string text() const;
  void read(const std::string& text);

 private:
  double beta2_;
  std::int64_t window_;
  double mean_ = 0.0;
  std::int64_t updates_ = 0;
  std::int64_t moving_ = 0;    // updates since v last began to move
  std::deque<double> recent_;  // norms of the last D + 1 of those, oldest first
};

// An exponential mean after so many updates from 0, with its bias corrected; 0 after none.
double bias_corrected(double beta, double mean, std::int64_t updates);

}  // namespace gradwire
