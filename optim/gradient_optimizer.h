// What optimizers that agree on gradients have in common: the list of trainable parameters and
// which of them decay. Holds pointers: the parameters outlive it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "optim/optimizer.h"

namespace gradwire {

class GradientOptimizer : public Optimizer {
 protected:
  struct Slot {
    Parameter* param;
    bool decays;               // its name matches no pattern of no_decay
    bool conditional = false;  // a step may leave it out
  };
  // Takes the parameters that are trainable now. Throws Error(kUsage) on a name given twice and
  // Error(kShape) on a value that is not f32; `rule` begins every message.
  // `conditional`: names of parameters that a step leaves out if their gradient is empty, which for
  // any other counts as zero.
  GradientOptimizer(std::string_view rule, std::span<Parameter* const> params,
                    std::span<const std::string> no_decay,
                    std::span<const std::string> conditional = {});

  const std::vector<Slot>& slots() const { return slots_; }
  std::string state_name(const Parameter& p, std::string_view what) const;  // adamw/<param>/m
  const std::string& rule() const { return rule_; }
  // The gradient to read: null if it is empty, which counts as zero. Throws Error(kShape) if
  // it does not fit the value.
  const float* gradient(const Parameter& p) const;
  static bool is_left_out(const Slot& slot) { return slot.conditional && slot.param->grad_empty; }

 private:
  std::string rule_;
  std::vector<Slot> slots_;
};

// Elements per chunk of an update; small enough to balance, large enough to amortise a dispatch.
inline constexpr std::int64_t kUpdateGrain = std::int64_t{1} << 15;

}  // namespace gradwire
