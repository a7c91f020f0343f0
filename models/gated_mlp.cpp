#include "models/gated_mlp.h"

#include "core/ops/elementwise/elementwise.h"

namespace gradwire {

GatedMlp::GatedMlp(Context& cx, const std::string& path, std::int64_t width,
                   std::int64_t inner_width, double init_stddev, double out_stddev) {
  init_normal(cx, gate_, path + ".gate_proj.weight", {inner_width, width}, init_stddev);
  init_normal(cx, up_, path + ".up_proj.weight", {inner_width, width}, init_stddev);
  init_normal(cx, down_, path + ".down_proj.weight", {width, inner_width}, out_stddev);
}

Var GatedMlp::forward(Context& cx, Tape& tape, Var x, const Adaptation& adapted) {
  const Var gate = adapted.linear(cx, tape, x, gate_);
  const Var up = adapted.linear(cx, tape, x, up_);
  return adapted.linear(cx, tape, gated(cx, tape, Unary::kSilu, gate, up), down_);
}

void GatedMlp::add_sites(std::vector<Site>& sites) {
  for (Parameter* w : {&gate_, &up_, &down_})
    sites.push_back(linear_site(*w));
}

void GatedMlp::visit_params(const Visitor& f) {
  f(gate_);
  f(up_);
  f(down_);
}

}  // namespace gradwire
