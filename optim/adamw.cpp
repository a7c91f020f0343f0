#include "optim/adamw.h"

#include <cmath>

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "optim/adamw_kernels.h"
#include "optim/gradient_optimizer.h"

namespace gradwire {
namespace {

void check_config(const AdamWConfig& c) {
  const auto is_decay_rate = [](double beta) { return beta >= 0.0 && beta < 1.0; };
  if (!is_decay_rate(c.beta1) || !is_decay_rate(c.beta2) || !(c.eps > 0.0) ||
      !(c.weight_decay >= 0.0)) {
    throw Error(
        ErrorKind::kConfig,
        fmt::format("adamw: needs betas in [0, 1), eps > 0 and weight_decay >= 0, got beta1 "
                    "{}, beta2 {}, eps {}, weight_decay {}",
                    c.beta1, c.beta2, c.eps, c.weight_decay));
  }
}

class AdamW final : public GradientOptimizer {
 public:
  AdamW(Context& cx, std::span<Parameter* const> params, const AdamWConfig& config)
      : GradientOptimizer("adamw", params, config.no_decay, config.conditional), config_(config) {
    left_out_.resize(slots().size(), 0);
    Context optim = cx.in(Segment::kOptim);
    for (const Slot& slot : slots()) {
      moments_.push_back({Tensor::zeros(optim, slot.param->value.shape(), DType::kF32),
                          Tensor::zeros(optim, slot.param->value.shape(), DType::kF32)});
    }
  }

  void apply(Context& cx, const StepInfo& step) override {
    ++updates_;
    const AdamWMath decayed = math_of(step, updates_, config_.weight_decay);
    const AdamWMath plain = math_of(step, updates_, 0.0);
    std::vector<AdamWPart> on_gpu;
    for (std::size_t i = 0; i < slots().size(); ++i) {
      Parameter& p = *slots()[i].param;
      if (is_left_out(slots()[i])) {
        ++left_out_[i];
        continue;
      }
      const AdamWArrays arrays{p.value.data<float>(), gradient(p), moments_[i].m.data<float>(),
                               moments_[i].v.data<float>()};
      AdamWMath math = slots()[i].decays ? decayed : plain;
      if (left_out_[i] > 0) {
        math = math_of(step, updates_ - left_out_[i], slots()[i].decays ? config_.weight_decay : 0);
      }
      on_device(
          p.value.device(),
          [&](Device) {
            parallel_for(p.value.numel(), kUpdateGrain, [&](std::int64_t b, std::int64_t e) {
              adamw_kernels().step(math, arrays, b, e);
            });
          },
          [&](auto) {
            on_gpu.push_back({math, arrays, p.value.numel()});
          });
      ++p.version;
    }
    if (on_gpu.empty()) return;
    on_device(
        cx.stream.device, [](Device) {}, [&](auto) { cuda::adamw_step(cx.stream, on_gpu); });
  }

  void visit_state(StateVisitor& visitor) override {
    visitor.number("adamw/step", updates_);
    for (std::size_t i = 0; i < slots().size(); ++i) {
      const Parameter& p = *slots()[i].param;
      visitor.tensor(state_name(p, "m"), moments_[i].m);
      visitor.tensor(state_name(p, "v"), moments_[i].v);
      if (slots()[i].conditional) visitor.number(state_name(p, "left_out"), left_out_[i]);
    }
  }

 private:
  struct Moments {
    Tensor m, v;
  };

  AdamWMath math_of(const StepInfo& step, std::int64_t updates, double weight_decay) const {
    const double t = static_cast<double>(updates);
    const auto f = [](double x) { return static_cast<float>(x); };
    return {.beta1 = f(config_.beta1),
            .one_minus_beta1 = f(1.0 - config_.beta1),
            .beta2 = f(config_.beta2),
            .one_minus_beta2 = f(1.0 - config_.beta2),
            .keep = f(1.0 - step.lr * weight_decay),
            .step_size = f(step.lr / (1.0 - std::pow(config_.beta1, t))),
            .inv_sqrt_bc2 = f(1.0 / std::sqrt(1.0 - std::pow(config_.beta2, t))),
            .eps = f(config_.eps),
            .grad_scale = f(step.grad_scale)};
  }

  AdamWConfig config_;
  std::vector<Moments> moments_;
  std::int64_t updates_ = 0;
  std::vector<std::int64_t> left_out_;  // of updates_, by slot
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(Context& cx, std::span<Parameter* const> params,
                                      AdamWConfig config) {
  check_config(config);
  return std::make_unique<AdamW>(cx, params, config);
}

}  // namespace gradwire
