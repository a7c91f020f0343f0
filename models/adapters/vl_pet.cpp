#include "models/adapters/vl_pet.h"

#include <array>
#include <optional>

#include "core/ops/elementwise/elementwise.h"
#include "core/ops/linear/linear.h"
#include "core/ops/shape/shape.h"
#include "models/adapters/bottleneck.h"

namespace gradwire {
namespace {

constexpr double kGateStddev = 0.02;

class VlPet final : public Adapter {
 public:
  VlPet(Context& cx, const Site& site, const std::string& name, const AdapterConfig& config)
      : method_(config.method),
        scale_(config.scale > 0.0 ? config.scale : 1.0),
        inner_(cx, site, "adapter", name, config.rank, Unary::kGelu, config.init) {
    if (method_ == AdapterMethod::kVlPetLarge) {
      wide_gate_.emplace(cx, site, "gate", name, config.rank, Unary::kGelu, config.init);
    } else if (method_ == AdapterMethod::kVlPetMiddleY) {
      init_normal(cx, gate_, adapter_parameter(site, "gate", name), {site.out}, kGateStddev);
    } else {
      const std::int64_t width = method_ == AdapterMethod::kVlPetSmall ? 2 * site.out : site.out;
      init_uniform(cx, gate_, adapter_parameter(site, "gate", name), {1, width},
                   fan_in_bound(width));
      init_uniform(cx, gate_bias_, adapter_parameter(site, "gate", name, "bias"), {1},
                   fan_in_bound(width));
    }
  }

  Var output(Context& cx, Tape& tape, const SiteInput& in, Var y) override {
    const Var h = add(cx, tape, y, inner_.forward(cx, tape, y));
    const Var out = gated_by(cx, tape, in.stream, h);
    return scale_ == 1.0 ? out : scaled(cx, tape, out, scale_);
  }

  void visit_params(const Visitor& f) override {
    inner_.visit_params(f);
    if (wide_gate_) return wide_gate_->visit_params(f);
    f(gate_);
    if (gate_bias_.value) f(gate_bias_);
  }

 private:
  Var gated_by(Context& cx, Tape& tape, Var stream, Var h) {
    const auto squashed = [&](Var v) { return unary(cx, tape, Unary::kSigmoid, v); };
    const auto of_token = [&](Var v) {
      return squashed(linear(cx, tape, v, tape.param(gate_), tape.param(gate_bias_)));
    };
    switch (method_) {
      case AdapterMethod::kVlPetLarge:
        return mul(cx, tape, h, squashed(wide_gate_->forward(cx, tape, stream)));
      case AdapterMethod::kVlPetMiddleX:
        return mul(cx, tape, h, of_token(add(cx, tape, stream, h)));
      case AdapterMethod::kVlPetMiddleY:
        return add(cx, tape, h, mul(cx, tape, h, in_type_of(cx, tape, h, gate_)));
      default: return mul(cx, tape, h, of_token(concat(cx, tape, std::array{stream, h}, -1)));
    }
  }

  AdapterMethod method_;
  double scale_;
  Bottleneck inner_;
  std::optional<Bottleneck> wide_gate_;
  Parameter gate_, gate_bias_;
};

}  // namespace

std::unique_ptr<Adapter> make_vl_pet(Context& cx, const Site& site, const std::string& name,
                                     const AdapterConfig& config) {
  return std::make_unique<VlPet>(cx, site, name, config);
}

}  // namespace gradwire
