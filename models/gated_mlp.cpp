#include "models/gated_mlp.h"

#include "core/ops/elementwise/elementwise.h"
#include "core/ops/linear/linear.h"

namespace gradwire {

GatedMlp::GatedMlp(Context& cx, const std::string& path, std::int64_t width,
                   std::int64_t inner_width, double init_stddev, double out_stddev) {
  init_normal(cx, gate_, path + ".gate_proj.weight", {inner_width, width}, init_stddev);
  init_normal(cx, up_, path + ".up_proj.weight", {inner_width, width}, init_stddev);
  init_normal(cx, down_, path + ".down_proj.weight", {width, inner_width}, out_stddev);
}

Var GatedMlp::forward(Context& cx, Tape& tape, Var x) {
  const Var gate = linear(cx, tape, x, tape.param(gate_));
  const Var up = linear(cx, tape, x, tape.param(up_));
  return linear(cx, tape, gated(cx, tape, Unary::kSilu, gate, up), tape.param(down_));
}

void GatedMlp::visit_params(const Visitor& f) {
  f(gate_);
  f(up_);
  f(down_);
}

}  // namespace gradwire
