#include "models/adapters/vectors.h"

#include "core/ops/elementwise/elementwise.h"

namespace gradwire {
namespace {

class Ia3 final : public Adapter {
 public:
  Ia3(Context& cx, const Site& site, const std::string& name)
      : scales_input_(ia3_scales_input(site)) {
    init_constant(cx, scale_, adapter_parameter(site, "ia3_l", name),
                  {scales_input_ ? site.in : site.out}, 1.0);
  }

  bool changes_input() const override { return scales_input_; }
  Var input(Context& cx, Tape& tape, Var x) override {
    return scales_input_ ? mul(cx, tape, x, in_type_of(cx, tape, x, scale_)) : x;
  }
  Var output(Context& cx, Tape& tape, const SiteInput& /*in*/, Var y) override {
    return scales_input_ ? y : mul(cx, tape, y, in_type_of(cx, tape, y, scale_));
  }
  bool merge(Context& cx, LinearWeights& linear) const override {
    const std::vector<float> l = scale_.value.to_host<float>(cx);
    const auto in = static_cast<std::size_t>(linear.in);
    for (std::size_t k = 0; k < linear.weight.size(); ++k)
      linear.weight[k] *= l[scales_input_ ? k % in : k / in];
    for (std::size_t i = 0; i < linear.bias.size() && !scales_input_; ++i)
      linear.bias[i] *= l[i];
    return true;
  }
  void visit_params(const Visitor& f) override { f(scale_); }

 private:
  bool scales_input_;
  Parameter scale_;
};

class BitFit final : public Adapter {
 public:
  BitFit(Context& cx, const Site& site, const std::string& name) {
    init_constant(cx, bias_, adapter_parameter(site, "bitfit", name, "bias"), {site.out}, 0.0);
  }

  Var output(Context& cx, Tape& tape, const SiteInput& /*in*/, Var y) override {
    return add(cx, tape, y, in_type_of(cx, tape, y, bias_));
  }
  bool merge(Context& cx, LinearWeights& linear) const override {
    const std::vector<float> b = bias_.value.to_host<float>(cx);
    for (std::size_t i = 0; i < linear.bias.size(); ++i)
      linear.bias[i] += b[i];
    return !linear.bias.empty();
  }
  void visit_params(const Visitor& f) override { f(bias_); }

 private:
  Parameter bias_;
};

}  // namespace

bool ia3_scales_input(const Site& site) {
  return site.name.ends_with("down_proj");
}

std::unique_ptr<Adapter> make_ia3(Context& cx, const Site& site, const std::string& name) {
  return std::make_unique<Ia3>(cx, site, name);
}

std::unique_ptr<Adapter> make_bitfit(Context& cx, const Site& site, const std::string& name) {
  return std::make_unique<BitFit>(cx, site, name);
}

}  // namespace gradwire
