#include "optim/zero_one_adam.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "optim/zero_one_kernels.h"

namespace gradwire {
namespace {

void check_schedule(const ZeroOneAdamConfig& c) {
  if (c.var_freeze_step < 1 || c.var_update_scaler < 1 || c.local_step_scaler < 1 ||
      c.local_step_clipper < 1 || c.local_step_start < c.var_freeze_step) {
    throw Error(ErrorKind::kConfig,
                fmt::format("zero_one_adam: needs var_freeze_step, var_update_scaler, "
                            "local_step_scaler and local_step_clipper >= 1 and local_step_start >= "
                            "var_freeze_step, got {}, {}, {}, {} and {}",
                            c.var_freeze_step, c.var_update_scaler, c.local_step_scaler,
                            c.local_step_clipper, c.local_step_start));
  }
}

// 2^floor(steps / per_doubling), at most `bound`.
std::int64_t doubled(std::int64_t steps, std::int64_t per_doubling, std::int64_t bound) {
  constexpr std::int64_t kLargest = 62;
  return std::min(bound, std::int64_t{1} << std::min(kLargest, steps / per_doubling));
}

// By bucket: whether its parameters take no local steps.
std::vector<bool> never_local(std::span<const FlatBucket> buckets,
                              std::span<const std::string> names) {
  std::vector<bool> result;
  for (const FlatBucket& b : buckets) {
    const auto count = std::ranges::count_if(b.params, [&](const Parameter* p) {
      return std::ranges::find(names, p->name) != names.end();
    });
    if (count != 0 && count != std::ssize(b.params)) {
      throw Error(ErrorKind::kUsage,
                  fmt::format("zero_one_adam: the bucket of {} holds {} parameters that take local "
                              "steps and {} that take none",
                              b.params.front()->name, std::ssize(b.params) - count, count));
    }
    result.push_back(count != 0);
  }
  return result;
}

enum class Kind : std::uint8_t { kRefresh, kOneBit, kLocal, kAgreement };

class ZeroOneAdam final : public BucketOptimizer {
 public:
  ZeroOneAdam(Context& cx, std::span<const FlatBucket> flat, const ZeroOneAdamConfig& config)
      : BucketOptimizer(cx, "zero_one_adam", flat, config.adam),
        config_(config),
        never_local_(never_local(flat, config.never_local)),
        sums_(flat.size()),
        anchors_(flat.size()) {
    check_schedule(config);
    if (config.local_step_clipper == 1) return;
    Context optim = cx.in(Segment::kOptim);
    for (std::size_t i = 0; i < buckets().size(); ++i) {
      if (never_local_[i]) continue;
      sums_[i] = Tensor::zeros(optim, buckets()[i].m.shape(), DType::kF32);
      anchors_[i] = Tensor::zeros(optim, buckets()[i].m.shape(), DType::kF32);
    }
  }

  StepNeeds needs(bool settle) const override {
    const Kind kind = kind_of_next(settle);
    // All ranks alike, though in a pipeline not all hold such parameters: reducers count exchanges.
    const bool some_exchange = !config_.never_local.empty();
    return {.gradients = kind == Kind::kRefresh,
            .exchange = kind == Kind::kLocal ? some_exchange : kind != Kind::kRefresh};
  }

  std::span<const std::optional<Exchange>> exchange(Context& cx, const StepInfo& step) override {
    check(needs(step.settle).exchange, ErrorKind::kUsage,
          "zero_one_adam: a step that refreshes the second moment, or is local, has nothing to "
          "exchange");
    const Kind kind = kind_of_next(step.settle);
    if (kind == Kind::kAgreement) advance(step, kind);
    exchanges_.clear();
    for (std::size_t i = 0; i < buckets().size(); ++i)
      exchanges_.push_back(exchange_of(cx, i, kind_in(i, kind), step));
    return exchanges_;
  }

  void apply(Context& cx, const StepInfo& step) override {
    const Kind kind = kind_of_next(step.settle);
    if (kind == Kind::kLocal) {
      if (settled()) remember_anchors(cx);
      advance(step, kind);
    }
    ++updates_;
    ++since_refresh_;
    if (kind == Kind::kRefresh) {
      ++refreshes_;
      since_refresh_ = 0;
    }
    for (std::size_t i = 0; i < buckets().size(); ++i)
      update(cx, i, kind_in(i, kind), step);
    since_agreement_ = kind == Kind::kLocal ? since_agreement_ + 1 : 0;
    note_stage();
  }

  void hold_dense(bool hold) override { held_ = hold; }
  bool settled() const override { return since_agreement_ == 0; }
  std::string take_log_message() override { return std::exchange(news_, {}); }

  void visit_state(StateVisitor& visitor) override {
    check(settled(), ErrorKind::kUsage,
          "zero_one_adam: between agreements every rank has its own state, which is not saved");
    visitor.number("zero_one_adam/step", updates_);
    visitor.number("zero_one_adam/refreshes", refreshes_);
    visitor.number("zero_one_adam/since_refresh", since_refresh_);
    visitor.number("zero_one_adam/awake_until", awake_until_);
    visit_moments(visitor);
  }

 private:
  // K and W (optim/zero_one_adam.h), which depend on whether a parameter decays.
  struct Sums {
    double keep = 1.0, weight = 0.0;
    ZeroOneMath math{};
  };

  Kind kind_of_next(bool settle) const {
    const std::int64_t t = updates_ + 1;
    if (held_ || t <= awake_until_) return settled() ? Kind::kRefresh : Kind::kAgreement;
    const std::int64_t until_refresh =
        doubled(refreshes_, config_.var_update_scaler, config_.var_freeze_step);
    if (t <= config_.var_freeze_step && since_refresh_ + 1 >= until_refresh) return Kind::kRefresh;
    if (t <= config_.local_step_start || config_.local_step_clipper == 1) return Kind::kOneBit;
    return settle || since_agreement_ + 1 >= interval(t) ? Kind::kAgreement : Kind::kLocal;
  }
  // Of a step of this kind, for the parameters of one bucket.
  Kind kind_in(std::size_t bucket, Kind kind) const {
    const bool local = kind == Kind::kLocal || kind == Kind::kAgreement;
    return local && never_local_[bucket] ? Kind::kOneBit : kind;
  }
  std::int64_t interval(std::int64_t t) const {
    return doubled(std::max<std::int64_t>(0, t - config_.local_step_start),
                   config_.local_step_scaler, config_.local_step_clipper);
  }

  // Nothing in a local step.
  std::optional<Exchange> exchange_of(Context& cx, std::size_t bucket, Kind kind,
                                      const StepInfo& step) {
    if (kind == Kind::kLocal) return std::nullopt;
    Bucket& b = buckets()[bucket];
    Exchange e;
    e.live = live_in(cx, b);
    e.woken = [this, bucket](auto woken) { wake(bucket, woken); };
    e.reset_residuals = updates_ > 0 && updates_ == awake_until_;
    if (kind == Kind::kOneBit) {
      e.what = Momentum{.gradient = b.layout.flat,
                        .weight = static_cast<float>(step.grad_scale),
                        .momentum = b.m,
                        .beta = static_cast<float>(adam().beta1)};
    } else {
      pass(cx, bucket, zero_one_kernels().collect,
           [](auto&&... a) { cuda::zero_one_collect(a...); });
      e.what = Drift{sums_[bucket]};  // as a momentum: without the root of v, which stands still
    }
    return e;
  }

  void remember_anchors(Context& cx) {
    for (std::size_t i = 0; i < buckets().size(); ++i) {
      if (never_local_[i]) continue;
      const FlatBucket& layout = buckets()[i].layout;
      for (std::size_t p = 0; p < layout.params.size(); ++p)
        copy(cx, layout.view_in(anchors_[i], p), layout.params[p]->value);
    }
  }

  // The scalars of the next update of m and u.
  void advance(const StepInfo& step, Kind kind) {
    // So that the momentum survives a learning rate of 0, where u would hold nothing of it.
    constexpr double kLeastWeight = 1e-20;
    for (Sums* s : {&decayed_, &plain_}) {
      if (settled()) *s = {};
      const double decay = s == &decayed_ ? adam().weight_decay : 0.0;
      const AdamWMath math = math_of(step, {.m = updates_ + 1, .v = refreshes_}, decay);
      const double weight = std::max(kLeastWeight, static_cast<double>(math.step_size));
      const double keep = 1.0 - step.lr * decay;
      s->keep *= keep;
      s->weight = keep * s->weight + weight;
      const bool agrees = kind == Kind::kAgreement;
      s->math = {.beta1 = math.beta1,
                 .one_minus_beta1 = math.one_minus_beta1,
                 .grad_scale = math.grad_scale,
                 .keep_u = settled() ? 0.0F : math.keep,
                 .weight = static_cast<float>(weight),
                 .inv_sum = agrees ? static_cast<float>(1.0 / s->weight) : 1.0F,
                 .keep = static_cast<float>(s->keep),
                 .gain = agrees ? static_cast<float>(s->weight) : 1.0F,
                 .inv_sqrt_bc2 = math.inv_sqrt_bc2,
                 .eps = math.eps,
                 .floor = 0.0F};
    }
  }

  void update(Context& cx, std::size_t i, Kind kind, const StepInfo& step) {
    Bucket& b = buckets()[i];
    const Age age{.m = updates_, .v = refreshes_};
    switch (kind) {
      case Kind::kRefresh: return adamw_step(cx, b, step, age);
      case Kind::kOneBit: return frozen_step(cx, b, step, age);
      case Kind::kLocal:
        pass(cx, i, zero_one_kernels().local, [](auto&&... a) { cuda::zero_one_local(a...); });
        break;
      case Kind::kAgreement:
        pass(cx, i, zero_one_kernels().settle, [](auto&&... a) { cuda::zero_one_settle(a...); });
    }
    for (Parameter* p : b.layout.params)
      ++p->version;
  }

  template <class Cuda>
  void pass(Context& cx, std::size_t bucket, ZeroOneKernels::Pass cpu, const Cuda& gpu) {
    Bucket& b = buckets()[bucket];
    live_in(cx, b);  // for the floors
    for (std::size_t i = 0; i < b.layout.params.size(); ++i) {
      Parameter& p = *b.layout.params[i];
      const std::int64_t at = b.layout.begins[i];
      float* value = p.value.data<float>();
      const ZeroOneArrays arrays{
          value,
          gradient(p),
          b.m.data<float>() + at,
          b.v.data<float>() + at,
          sums_[bucket].data<float>() + at,
          since_agreement_ == 0 ? value : anchors_[bucket].data<float>() + at};
      ZeroOneMath math = (slot(b, i).decays ? decayed_ : plain_).math;
      math.floor = b.floors[i];
      on_device(
          p.value.device(),
          [&](Device) {
            parallel_for(p.value.numel(), kUpdateGrain,
                         [&](std::int64_t from, std::int64_t to) { cpu(math, arrays, from, to); });
          },
          [&](auto) { gpu(cx.stream, math, arrays, p.value.numel()); });
    }
  }

  // Coordinates that had no gradient by the last refresh have one now: v moves until it has
  // settled.
  void wake(std::size_t bucket, std::span<const std::uint8_t> woken) {
    const auto window = static_cast<std::int64_t>(std::ceil(1.0 / (1.0 - adam().beta2) - 1e-6));
    awake_until_ = updates_ + 1 + 2 * window;
    news_ = fmt::format("second moment refreshed in every update until {}: {}", awake_until_,
                        waking_text(buckets()[bucket].layout, woken));
  }

  void note_stage() {
    if (held_) return;
    if (updates_ == config_.var_freeze_step) {
      news_ = fmt::format("second moment frozen after {} updates, {} of them refreshes of it",
                          updates_, refreshes_);
    }
    if (updates_ < config_.local_step_start || config_.local_step_clipper == 1) return;
    if (const std::int64_t now = interval(updates_ + 1); now != interval(updates_))
      news_ = fmt::format("the ranks agree every {} updates from update {} on", now, updates_ + 1);
  }

  ZeroOneAdamConfig config_;
  std::vector<bool> never_local_;       // by bucket
  std::vector<Tensor> sums_, anchors_;  // by bucket: u, and the values at the last agreement
  Sums decayed_, plain_;
  std::int64_t updates_ = 0;
  std::int64_t refreshes_ = 0;
  std::int64_t since_refresh_ = 0;
  std::int64_t since_agreement_ = 0;  // local updates
  std::int64_t awake_until_ = 0;      // updates, each of them a refresh
  bool held_ = false;                 // dense
  std::vector<std::optional<Exchange>> exchanges_;
  std::string news_;
};

}  // namespace

std::unique_ptr<Optimizer> make_zero_one_adam(Context& cx, std::span<const FlatBucket> buckets,
                                              ZeroOneAdamConfig config) {
  return std::make_unique<ZeroOneAdam>(cx, buckets, config);
}

}  // namespace gradwire
