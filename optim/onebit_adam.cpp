#include "optim/onebit_adam.h"

#include <algorithm>

#include "core/error.h"

namespace gradwire {
namespace {

class OnebitAdam final : public BucketOptimizer {
 public:
  OnebitAdam(Context& cx, std::span<const FlatBucket> flat, const OnebitAdamConfig& config)
      : BucketOptimizer(cx, "onebit_adam", flat, config.adam, config.dense),
        watch_(config.adam.beta2, config.freeze) {
    for (const Bucket& b : buckets())
      (b.dense ? some_dense_ : some_compressed_) = true;
  }

  StepNeeds needs(bool) const override {
    if (!watch_.frozen()) return {};
    return {.gradients = some_dense_, .exchange = some_compressed_};
  }

  std::span<const Exchange> exchange(Context& cx, const StepInfo& step) override {
    check(watch_.frozen(), ErrorKind::kUsage, "onebit_adam: a dense step has nothing to exchange");
    exchanges_.clear();
    for (Bucket& b : buckets()) {
      Exchange& e = exchanges_.emplace_back();
      if (b.dense) continue;
      e = {.value = b.layout.flat,
           .weight = static_cast<float>(step.grad_scale),
           .momentum = b.m,
           .beta = static_cast<float>(adam().beta1),
           .live = live_in(cx, b)};
    }
    return exchanges_;
  }

  void apply(Context& cx, const StepInfo& step) override {
    ++updates_;
    for (Bucket& b : buckets()) {
      if (b.dense) {
        adamw_step(cx, b, step, {.m = updates_, .v = updates_});
      } else if (watch_.frozen()) {
        frozen_step(cx, b, step, {.m = updates_, .v = watch_.updates()});
      } else {
        adamw_step(cx, b, step, {.m = updates_, .v = watch_.updates() + 1});
      }
    }
    const double norm = step.grad_scale * step.grad_norm;
    watch_.observe(step.step, norm * norm);
  }

  void hold_dense(bool hold) override { watch_.hold(hold); }
  std::string take_news() override { return watch_.take_news(); }

  void visit_state(StateVisitor& visitor) override {
    visitor.number("onebit_adam/step", updates_);
    watch_.visit_state(visitor, "onebit_adam/variance");
    visit_moments(visitor);
  }

 private:
  VarianceWatch watch_;
  std::int64_t updates_ = 0;
  bool some_dense_ = false;
  bool some_compressed_ = false;
  std::vector<Exchange> exchanges_;
};

}  // namespace

std::unique_ptr<Optimizer> make_onebit_adam(Context& cx, std::span<const FlatBucket> buckets,
                                            OnebitAdamConfig config) {
  return std::make_unique<OnebitAdam>(cx, buckets, config);
}

}  // namespace gradwire
