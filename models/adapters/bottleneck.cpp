#include "models/adapters/bottleneck.h"

#include "core/ops/elementwise/elementwise.h"
#include "core/ops/linear/linear.h"

namespace gradwire {
namespace {

constexpr double kNearZero = 1e-3;  // google-research/adapter-bert
constexpr double kParallelScale = 4.0;

class BottleneckAdapter final : public Adapter {
 public:
  BottleneckAdapter(Context& cx, const Site& site, const std::string& name,
                    const AdapterConfig& config)
      : parallel_(config.method == AdapterMethod::kParallel),
        scale_(config.scale > 0.0 ? config.scale
               : parallel_        ? kParallelScale
                                  : 1.0),
        inner_(cx, site, "adapter", name, config.rank,
               config.method == AdapterMethod::kHoulsby ? Unary::kGelu : Unary::kRelu,
               config.init == AdapterInit::kDefault ? AdapterInit::kZero : config.init) {}

  Var output(Context& cx, Tape& tape, const SiteInput& in, Var y) override {
    const Var update = inner_.forward(cx, tape, parallel_ ? in.x : y);
    return add(cx, tape, y, scale_ == 1.0 ? update : scaled(cx, tape, update, scale_));
  }
  void visit_params(const Visitor& f) override { inner_.visit_params(f); }

 private:
  bool parallel_;
  double scale_;
  Bottleneck inner_;
};

}  // namespace

Bottleneck::Bottleneck(Context& cx, const Site& site, const std::string& part,
                       const std::string& name, std::int64_t inner, Unary act, AdapterInit init)
    : act_(act) {
  const std::int64_t width = site.out;
  const auto matrix = [&](Parameter& p, const std::string& which, const Shape& shape) {
    const std::string full = adapter_parameter(site, part + which, name);
    if (init == AdapterInit::kNormal) {
      init_normal(cx, p, full, shape, kNearZero);
    } else {
      init_uniform(cx, p, full, shape, fan_in_bound(shape[1]));
    }
  };
  const auto bias = [&](Parameter& p, const std::string& which, std::int64_t size,
                        std::int64_t fan_in) {
    const std::string full = adapter_parameter(site, part + which, name, "bias");
    if (init == AdapterInit::kDefault) {
      init_uniform(cx, p, full, {size}, fan_in_bound(fan_in));
    } else {
      init_constant(cx, p, full, {size}, 0.0);
    }
  };
  matrix(down_, "_down", {inner, width});
  bias(down_bias_, "_down", inner, width);
  if (init == AdapterInit::kZero) {
    init_constant(cx, up_, adapter_parameter(site, part + "_up", name), {width, inner}, 0.0);
  } else {
    matrix(up_, "_up", {width, inner});
  }
  bias(up_bias_, "_up", width, inner);
}

Var Bottleneck::forward(Context& cx, Tape& tape, Var x) {
  const Var narrow = linear(cx, tape, x, tape.param(down_), tape.param(down_bias_));
  return linear(cx, tape, unary(cx, tape, act_, narrow), tape.param(up_), tape.param(up_bias_));
}

void Bottleneck::visit_params(const Visitor& f) {
  f(down_);
  f(down_bias_);
  f(up_);
  f(up_bias_);
}

std::unique_ptr<Adapter> make_bottleneck(Context& cx, const Site& site, const std::string& name,
                                         const AdapterConfig& config) {
  return std::make_unique<BottleneckAdapter>(cx, site, name, config);
}

}  // namespace gradwire
