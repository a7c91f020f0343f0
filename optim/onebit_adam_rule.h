// The class behind make_onebit_adam(), for rules with the same two stages that take their frozen
// steps in another way: which stage it is, and what a dense step does, is decided here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "optim/onebit_adam.h"

namespace gradwire {

class OnebitAdam : public BucketOptimizer {
 public:
  OnebitAdam(Context& cx, std::span<const FlatBucket> flat, const OnebitAdamConfig& config);

  StepNeeds needs(bool settle) const override;
  std::span<const Exchange> exchange(Context& cx, const StepInfo& step) override;
  void apply(Context& cx, const StepInfo& step) override;
  void hold_dense(bool hold) override { watch_.hold(hold); }
  std::string take_news() override { return watch_.take_news(); }
  void visit_state(StateVisitor& visitor) override;

 protected:
  // The two halves of a frozen step of a bucket; `age` is that of the moments in it.
  virtual Exchange frozen_exchange(Context& cx, std::size_t bucket, const StepInfo& step, Age age);
  virtual void frozen_apply(Context& cx, std::size_t bucket, const StepInfo& step, Age age);
  // Whether the coming step of the bucket is one.
  bool is_frozen(std::size_t bucket) { return watch_.frozen() && !buckets()[bucket].dense; }
  bool just_frozen() const { return watch_.just_frozen(); }
  // Coordinates of a bucket that had no gradient before the freeze have one now: v thaws.
  void wake(Context& cx, const FlatBucket& layout, const Tensor& live) {
    watch_.wake(waking_text(cx, layout, live));
  }

 private:
  // Whether the parameters are updated piece by piece as the momentum arrives.
  static bool updates_in_exchange(const Bucket& b);

  VarianceWatch watch_;
  FrozenStep frozen_step_;  // of the exchange under way
  std::int64_t updates_ = 0;
  bool some_dense_ = false;
  bool some_compressed_ = false;
  std::vector<Exchange> exchanges_;
};

}  // namespace gradwire
