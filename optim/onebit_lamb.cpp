#include "optim/onebit_lamb.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/error.h"
#include "core/ops/reduce/reduce.h"
#include "core/parallel_for.h"
#include "optim/onebit_lamb_kernels.h"

namespace gradwire {
namespace {

constexpr double kTrustBeta = 0.9;
constexpr double kLeastFactor = 0.5, kLargestFactor = 4.0;
constexpr double kFactorStep = 0.1;
// Octaves by which a momentum is scaled at most. One that has had no gradient for hundreds of
// updates is all but zero, and would need a scale that is no float.
constexpr double kMostOctaves = 48.0;

double norm_of(Context& cx, const Tensor& x) {
  return std::sqrt(sum_of_squares(cx, std::array{x}));
}

// The power of two that brings a momentum's root mean square near 1. Of nothing but the momentum:
// both ends of a pipeline have it of a parameter that they share, beside other parameters.
double scale_of(Context& cx, const Tensor& m) {
  const double size = norm_of(cx, m) / std::sqrt(static_cast<double>(m.numel()));
  if (!(size > 0.0)) return 1.0;
  return std::exp2(std::clamp(-std::round(std::log2(size)), -kMostOctaves, kMostOctaves));
}

class OnebitLamb final : public BucketOptimizer {
 public:
  OnebitLamb(Context& cx, std::span<const FlatBucket> flat, const OnebitLambConfig& config)
      : BucketOptimizer(cx, "onebit_lamb", flat, config.adam),
        config_(config),
        watch_(config.adam.beta2, config.freeze) {
    if (!(config.min_trust > 0.0 && config.min_trust <= config.max_trust)) {
      throw Error(ErrorKind::kConfig,
                  fmt::format("onebit_lamb: needs 0 < min_trust <= max_trust, got {} and {}",
                              config.min_trust, config.max_trust));
    }
    Context optim = cx.in(Segment::kOptim);
    for (const Bucket& b : buckets()) {
      fresh_.push_back(Tensor::zeros(optim, b.v.shape(), DType::kF32));
      work_.push_back(Tensor::zeros(optim, b.v.shape(), DType::kF32));
    }
    steps_.resize(slots().size());
    largest_ = Tensor::zeros(optim, {1}, DType::kF32);
  }

  StepNeeds needs(bool) const override {
    return {.gradients = !watch_.frozen(), .exchange = watch_.frozen()};
  }

  std::span<const std::optional<Exchange>> exchange(Context& cx, const StepInfo& step) override {
    check(watch_.frozen(), ErrorKind::kUsage, "onebit_lamb: a dense step has nothing to exchange");
    exchanges_.clear();
    for (std::size_t i = 0; i < buckets().size(); ++i) {
      Bucket& b = buckets()[i];
      for (std::size_t p = 0; p < b.layout.params.size(); ++p)
        rescale(cx, b.layout.view_in(b.layout.flat, p), steps_[b.first_slot + p].scale);
      const Tensor& live = live_in(cx, b);
      copy(cx, work_[i], b.m);
      exchanges_.push_back(Exchange{
          .what = Momentum{.gradient = b.layout.flat,
                           .weight = static_cast<float>(step.grad_scale),
                           .momentum = b.m,
                           .beta = static_cast<float>(adam().beta1)},
          .live = live,
          .woken = [this, i](auto woken) { watch_.wake(waking_text(buckets()[i].layout, woken)); },
          .reset_residuals = watch_.just_frozen()});
    }
    return exchanges_;
  }

  void apply(Context& cx, const StepInfo& step) override {
    const bool frozen = watch_.frozen();
    ++updates_;
    since_freeze_ = frozen ? since_freeze_ + 1 : 0;
    for (std::size_t i = 0; i < buckets().size(); ++i) {
      for (std::size_t p = 0; p < buckets()[i].layout.params.size(); ++p)
        frozen ? compressed_step(cx, i, p, step) : dense_step(cx, i, p, step);
    }
    const double norm = step.grad_scale * step.grad_norm;
    watch_.observe(step.step, norm * norm);
    if (!frozen && watch_.frozen()) begin_compression(cx);
    if (frozen && !watch_.frozen()) end_compression(cx);
  }

  void hold_dense(bool hold) override { watch_.hold(hold); }
  std::string take_log_message() override { return watch_.take_log_message(); }

  void visit_state(StateVisitor& visitor) override {
    visitor.number("onebit_lamb/step", updates_);
    visitor.number("onebit_lamb/since_freeze", since_freeze_);
    watch_.visit_state(visitor, "onebit_lamb/variance");
    visit_moments(visitor);
    for (std::size_t i = 0; i < buckets().size(); ++i) {
      const Bucket& b = buckets()[i];
      for (std::size_t p = 0; p < b.layout.params.size(); ++p) {
        const Parameter& param = *b.layout.params[p];
        StepSize& s = steps_[b.first_slot + p];
        Tensor fresh = b.layout.view_in(fresh_[i], p);
        visitor.tensor(state_name(param, "fresh_v"), fresh);
        visitor.number(state_name(param, "trust"), s.trust);
        visitor.number(state_name(param, "factor"), s.factor);
        visitor.number(state_name(param, "scale"), s.scale);
      }
    }
  }

 private:
  struct StepSize {       // of one parameter
    double trust = 0.0;   // the mean of the trust coefficient, before its bias correction
    double factor = 1.0;  // the last one
    double scale = 1.0;   // m and the gradients exchanged are this many times what they stand for
  };

  static void rescale(Context& cx, const Tensor& x, double factor) {
    if (factor != 1.0) scale(cx, x, factor);
  }

  LambMath lamb_math(const StepInfo& step, std::int64_t v_updates, double decay, double m_scale) {
    const AdamWMath a = math_of(step, {.m = updates_, .v = v_updates}, 0.0);
    const AdamWMath fresh =
        math_of(step, {.m = updates_, .v = watch_.updates() + since_freeze_}, 0.0);
    const auto f = [](double x) { return static_cast<float>(x); };
    const double t = static_cast<double>(updates_);
    return {.beta1 = a.beta1,
            .one_minus_beta1 = a.one_minus_beta1,
            .beta2 = a.beta2,
            .one_minus_beta2 = a.one_minus_beta2,
            .grad_scale = a.grad_scale,
            .momentum_gain = f(1.0 / (1.0 - std::pow(adam().beta1, t)) / m_scale),
            .rebuild_gain = f(1.0 / (1.0 - adam().beta1) / m_scale),
            .inv_sqrt_bc2 = a.inv_sqrt_bc2,
            .inv_sqrt_bc2_fresh = fresh.inv_sqrt_bc2,
            .eps = a.eps,
            .decay = f(decay),
            .floor = 0.0F};
  }

  LambArrays arrays_of(std::size_t bucket, std::size_t param) {
    Bucket& b = buckets()[bucket];
    const Parameter& p = *b.layout.params[param];
    const std::int64_t at = b.layout.begins[param];
    return {p.value.data<float>(),
            gradient(p),
            b.m.data<float>() + at,
            b.v.data<float>() + at,
            fresh_[bucket].data<float>() + at,
            work_[bucket].data<float>() + at};
  }

  void dense_step(Context& cx, std::size_t bucket, std::size_t param, const StepInfo& step) {
    Bucket& b = buckets()[bucket];
    Parameter& p = *b.layout.params[param];
    b.live_is_made = false;
    const double decay = slot(b, param).decays ? adam().weight_decay : 0.0;
    const LambMath math = lamb_math(step, watch_.updates() + 1, decay, 1.0);
    const LambArrays arrays = arrays_of(bucket, param);
    on_device(
        p.value.device(),
        [&](Device) {
          parallel_for(p.value.numel(), kUpdateGrain, [&](std::int64_t from, std::int64_t to) {
            lamb_kernels().dense(math, arrays, from, to);
          });
        },
        [&](auto) { cuda::lamb_dense(cx.stream, math, arrays, p.value.numel()); });
    const Tensor direction = b.layout.view_in(work_[bucket], param);
    const double size = norm_of(cx, p.value), length = norm_of(cx, direction);
    const double trust = size > 0.0 && length > 0.0
                             ? std::clamp(size / length, config_.min_trust, config_.max_trust)
                             : 1.0;
    StepSize& s = steps_[b.first_slot + param];
    s.trust = kTrustBeta * s.trust + (1.0 - kTrustBeta) * trust;
    add_scaled(cx, p.value, direction, -step.lr * trust);
    ++p.version;
  }

  void compressed_step(Context& cx, std::size_t bucket, std::size_t param, const StepInfo& step) {
    Bucket& b = buckets()[bucket];
    Parameter& p = *b.layout.params[param];
    StepSize& s = steps_[b.first_slot + param];
    const double decay = slot(b, param).decays ? adam().weight_decay : 0.0;
    LambMath math = lamb_math(step, watch_.updates(), decay, s.scale);
    math.floor = b.floors[param];
    const double ratio = largest_ratio(cx, math, arrays_of(bucket, param), p.value);
    const Tensor direction = b.layout.view_in(work_[bucket], param);
    double share = 1.0;
    if (decay > 0.0) {
      const double length = norm_of(cx, direction);
      add_scaled(cx, direction, p.value, decay);
      const double full = norm_of(cx, direction);
      share = full > 0.0 ? std::min(1.0, length / full) : 1.0;
    }
    const double wanted = std::clamp(share * ratio + 1.0 - share, kLeastFactor, kLargestFactor);
    s.factor = std::clamp(wanted, s.factor * (1.0 - kFactorStep), s.factor * (1.0 + kFactorStep));
    const double trust =
        s.trust / (1.0 - std::pow(kTrustBeta, static_cast<double>(watch_.updates())));
    add_scaled(cx, p.value, direction, -step.lr * trust * s.factor);
    ++p.version;
  }

  double largest_ratio(Context& cx, const LambMath& math, const LambArrays& arrays,
                       const Tensor& value) {
    return on_device(
        value.device(),
        [&](Device) {
          const std::int64_t n = value.numel();
          std::vector<float> of_chunk(
              static_cast<std::size_t>((n + kUpdateGrain - 1) / kUpdateGrain));
          parallel_for(n, kUpdateGrain, [&](std::int64_t from, std::int64_t to) {
            of_chunk[static_cast<std::size_t>(from / kUpdateGrain)] =
                lamb_kernels().frozen(math, arrays, from, to);
          });
          const auto found = std::max_element(of_chunk.begin(), of_chunk.end());
          return found == of_chunk.end() ? 1.0 : static_cast<double>(*found);
        },
        [&](auto) {
          fill(cx, largest_, 0.0);
          cuda::lamb_frozen(cx.stream, math, arrays, largest_.data<float>(), value.numel());
          return static_cast<double>(largest_.to_host<float>(cx)[0]);
        });
  }

  // The fresh v starts from v; momenta are brought to one size. By powers of two, so that no bit of
  // them is lost.
  void begin_compression(Context& cx) {
    for (std::size_t i = 0; i < buckets().size(); ++i) {
      const Bucket& b = buckets()[i];
      copy(cx, fresh_[i], b.v);
      for (std::size_t p = 0; p < b.layout.params.size(); ++p) {
        StepSize& s = steps_[b.first_slot + p];
        s.factor = 1.0;
        s.scale = scale_of(cx, b.layout.view_in(b.m, p));
      }
    }
    rescale_momenta(cx, [](const StepSize& s) { return s.scale; });
  }

  void end_compression(Context& cx) {
    rescale_momenta(cx, [](const StepSize& s) { return 1.0 / s.scale; });
    for (StepSize& s : steps_)
      s.scale = 1.0;
  }

  template <class F>
  void rescale_momenta(Context& cx, const F& factor) {
    for (const Bucket& b : buckets()) {
      for (std::size_t p = 0; p < b.layout.params.size(); ++p)
        rescale(cx, b.layout.view_in(b.m, p), factor(steps_[b.first_slot + p]));
    }
  }

  OnebitLambConfig config_;
  VarianceWatch watch_;
  std::int64_t updates_ = 0;
  std::int64_t since_freeze_ = 0;
  std::vector<Tensor> fresh_, work_;  // by bucket; work_ lives within a step only
  std::vector<StepSize> steps_;       // by slot
  Tensor largest_;
  std::vector<std::optional<Exchange>> exchanges_;
};

}  // namespace

std::unique_ptr<Optimizer> make_onebit_lamb(Context& cx, std::span<const FlatBucket> buckets,
                                            OnebitLambConfig config) {
  return std::make_unique<OnebitLamb>(cx, buckets, config);
}

}  // namespace gradwire
