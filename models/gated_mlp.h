// The gated feed-forward layer of LLaMA: down(silu(gate(x)) * up(x)), no biases:
// {path}.{gate,up,down}_proj.weight.
#pragma once

#include "models/adapters/adaptation.h"
#include "models/module.h"

namespace gradwire {

class GatedMlp final : public Module {
 public:
  GatedMlp(Context& cx, const std::string& path, std::int64_t width, std::int64_t inner_width,
           double init_stddev, double out_stddev);
  // [.., D] -> [.., D]
  Var forward(Context& cx, Tape& tape, Var x, const Adaptation& adapted = {});
  void add_sites(std::vector<Site>& sites);
  void visit_params(const Visitor& f) override;

 private:
  Parameter gate_, up_, down_;
};

}  // namespace gradwire
