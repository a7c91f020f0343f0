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
  std::span<const std::optional<Exchange>> exchange(Context& cx, const StepInfo& step) override;
  void apply(Context& cx, const StepInfo& step) override;
  void hold_dense(bool hold) override { watch_.hold(hold); }
  std::string take_log_message() override;
  void visit_state(StateVisitor& visitor) override;

 protected:
  // The bucket whose gradients are exchanged: this rank's own, and longer if state is sharded.
  virtual const FlatBucket& exchanged(std::size_t bucket) const { return buckets()[bucket].layout; }
  // After this rank has updated what it has the state of: if that is a part of a parameter,
  // brings the others' parts together.
  virtual void share_values(Context&, std::size_t, std::size_t) {}
  // The two halves of a frozen step of a bucket; `age` is that of the moments in it.
  virtual Exchange frozen_exchange(Context& cx, std::size_t bucket, const StepInfo& step, Age age);
  virtual void frozen_apply(Context& cx, std::size_t bucket, const StepInfo& step, Age age);
  // Whether the coming step of the bucket is one.
  bool is_frozen(std::size_t bucket) { return watch_.frozen() && !buckets()[bucket].dense; }
  bool just_frozen() const { return watch_.just_frozen(); }
  // What the exchange of a bucket is told of parameters that wake up or have settled.
  void add_awake(std::size_t bucket, Exchange& e);

 private:
  // A parameter with coordinates that had no gradient before the freeze and have one now. Until its
  // own second moment has settled it takes AdamW's steps, and part in no exchange: there its
  // gradient and both moments are zero during a step.
  struct Awake {
    std::size_t bucket, param;
    SettlingNorm norm;
    Tensor grad{}, m{}, v{};  // f32, of this step
  };

  void put_aside(Context& cx, Awake& a);
  void step_awake(Context& cx, const StepInfo& step);
  void wake(const Awake& a);
  void wake_and_settle(Context& cx);
  void settle(Context& cx, const Awake& a);
  Exchange::Range range_of(const Awake& a) const;
  std::string name_of(const Awake& a) { return buckets()[a.bucket].layout.params[a.param]->name; }
  std::string awake_text(const Awake& a) const;
  void visit_awake(StateVisitor& visitor);

  // Whether the parameters are updated piece by piece as the momentum arrives.
  static bool updates_in_exchange(const Bucket& b);

  VarianceWatch watch_;
  FrozenStep frozen_step_;  // of the exchange under way
  std::int64_t updates_ = 0;
  bool some_dense_ = false;
  bool some_compressed_ = false;
  std::vector<std::optional<Exchange>> exchanges_;
  std::vector<Awake> awake_;
  std::vector<std::vector<std::uint8_t>> woken_;       // by bucket, in this step
  std::vector<std::vector<Exchange::Range>> renewed_;  // by bucket, of the next exchange
  std::string news_;
};

}  // namespace gradwire
