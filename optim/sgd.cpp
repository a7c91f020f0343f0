#include "optim/sgd.h"

#include <fmt/format.h>

#include "core/dispatch.h"
#include "core/error.h"
#include "core/parallel_for.h"
#include "optim/gradient_optimizer.h"
#include "optim/sgd_kernels.h"

namespace gradwire {
namespace {

void check_config(const SgdConfig& c) {
  const bool momentum_fits = c.momentum >= 0.0 && c.momentum < 1.0;
  if (!momentum_fits || !(c.weight_decay >= 0.0) || (c.nesterov && c.momentum == 0.0)) {
    throw Error(ErrorKind::kConfig,
                fmt::format("sgd: needs momentum in [0, 1), above 0 for nesterov, and weight_decay "
                            ">= 0, got momentum {}, nesterov {}, weight_decay {}",
                            c.momentum, c.nesterov, c.weight_decay));
  }
}

class Sgd final : public GradientOptimizer {
 public:
  Sgd(Context& cx, std::span<Parameter* const> params, const SgdConfig& config)
      : GradientOptimizer("sgd", params, config.no_decay, config.conditional), config_(config) {
    if (config_.momentum == 0.0) return;
    Context optim = cx.in(Segment::kOptim);
    for (const Slot& slot : slots()) {
      momentum_.push_back(Tensor::zeros(optim, slot.param->value.shape(), DType::kF32));
    }
  }

  void apply(Context& cx, const StepInfo& step) override {
    for (std::size_t i = 0; i < slots().size(); ++i) {
      const Slot& slot = slots()[i];
      if (is_left_out(slot)) continue;
      Parameter& p = *slot.param;
      const SgdMath math{.lr = static_cast<float>(step.lr),
                         .momentum = static_cast<float>(config_.momentum),
                         .weight_decay = slot.decays ? static_cast<float>(config_.weight_decay) : 0,
                         .grad_scale = static_cast<float>(step.grad_scale),
                         .nesterov = config_.nesterov};
      const SgdArrays arrays{p.value.data<float>(), gradient(p),
                             momentum_.empty() ? nullptr : momentum_[i].data<float>()};
      on_device(
          p.value.device(),
          [&](Device) {
            parallel_for(p.value.numel(), kUpdateGrain, [&](std::int64_t b, std::int64_t e) {
              sgd_kernels().step(math, arrays, b, e);
            });
          },
          [&](auto) { cuda::sgd_step(cx.stream, math, arrays, p.value.numel()); });
      ++p.version;
    }
  }

  void visit_state(StateVisitor& visitor) override {
    for (std::size_t i = 0; i < momentum_.size(); ++i) {
      visitor.tensor(state_name(*slots()[i].param, "momentum"), momentum_[i]);
    }
  }

 private:
  SgdConfig config_;
  std::vector<Tensor> momentum_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(Context& cx, std::span<Parameter* const> params,
                                    SgdConfig config) {
  check_config(config);
  return std::make_unique<Sgd>(cx, params, config);
}

}  // namespace gradwire
