#include "optim/onebit_adam.h"

#include "core/error.h"
#include "optim/onebit_adam_rule.h"

namespace gradwire {

OnebitAdam::OnebitAdam(Context& cx, std::span<const FlatBucket> flat,
                       const OnebitAdamConfig& config)
    : BucketOptimizer(cx, "onebit_adam", flat, config.adam, config.dense),
      watch_(config.adam.beta2, config.freeze),
      woken_(flat.size()),
      renewed_(flat.size()) {
  for (const Bucket& b : buckets())
    (b.dense ? some_dense_ : some_compressed_) = true;
}

StepNeeds OnebitAdam::needs(bool) const {
  if (!watch_.frozen()) return {};
  return {.gradients = some_dense_, .exchange = some_compressed_};
}

std::span<const std::optional<Exchange>> OnebitAdam::exchange(Context& cx, const StepInfo& step) {
  check(watch_.frozen(), ErrorKind::kUsage, "onebit_adam: a dense step has nothing to exchange");
  exchanges_.clear();
  for (Awake& a : awake_)
    put_aside(cx, a);
  const Age age{.m = updates_ + 1, .v = watch_.updates()};
  for (std::size_t i = 0; i < buckets().size(); ++i)
    exchanges_.push_back(is_frozen(i) ? std::optional(frozen_exchange(cx, i, step, age))
                                      : std::nullopt);
  return exchanges_;
}

Exchange OnebitAdam::frozen_exchange(Context& cx, std::size_t bucket, const StepInfo& step,
                                     Age age) {
  Bucket& b = buckets()[bucket];
  Exchange e{.live = live_in(cx, b), .reset_residuals = just_frozen()};
  add_awake(bucket, e);
  e.what = Momentum{.gradient = b.layout.flat,
                    .weight = static_cast<float>(step.grad_scale),
                    .momentum = b.m,
                    .beta = static_cast<float>(adam().beta1),
                    .as_agreed = !just_frozen() && e.renewed.empty()};
  if (updates_in_exchange(b)) {
    frozen_step_ = frozen_math(step, age);
    e.use = [this, bucket](std::int64_t begin, std::int64_t end, const float* m) {
      frozen_step(buckets()[bucket], frozen_step_, begin, end, m);
    };
  }
  return e;
}

void OnebitAdam::apply(Context& cx, const StepInfo& step) {
  ++updates_;
  for (std::size_t i = 0; i < buckets().size(); ++i) {
    Bucket& b = buckets()[i];
    if (b.dense) {
      adamw_step(cx, b, step, {.m = updates_, .v = updates_});
    } else if (watch_.frozen()) {
      frozen_apply(cx, i, step, {.m = updates_, .v = watch_.updates()});
    } else {
      adamw_step(cx, b, step, {.m = updates_, .v = watch_.updates() + 1});
    }
  }
  step_awake(cx, step);
  const double norm = step.grad_scale * step.grad_norm;
  watch_.observe(step.step, norm * norm);
  wake_and_settle(cx);
}

void OnebitAdam::frozen_apply(Context& cx, std::size_t bucket, const StepInfo& step, Age age) {
  Bucket& b = buckets()[bucket];
  if (!updates_in_exchange(b)) return frozen_step(cx, b, step, age);
  for (Parameter* p : b.layout.params)
    ++p->version;
}

bool OnebitAdam::updates_in_exchange(const Bucket& b) {
  return b.m.device().type == DeviceType::kCpu;
}

void OnebitAdam::visit_state(StateVisitor& visitor) {
  visitor.number("onebit_adam/step", updates_);
  watch_.visit_state(visitor, "onebit_adam/variance");
  visit_moments(visitor);
  visit_awake(visitor);
}

std::unique_ptr<Optimizer> make_onebit_adam(Context& cx, std::span<const FlatBucket> buckets,
                                            OnebitAdamConfig config) {
  return std::make_unique<OnebitAdam>(cx, buckets, config);
}

}  // namespace gradwire
