// Adapters that narrow what a sublayer gives or reads, and widen it again, at a sublayer of width d
// with a bottleneck of width m:
//   Houlsby, after attention and after feed-forward   y <- y + U gelu(D y)
//   Pfeiffer, after feed-forward                       y <- y + U relu(D y)
//   parallel, beside feed-forward                      y <- y + 4 U relu(D x)
// D [m, d] and U [d, m] with biases; x is what the sublayer reads, after its norm; y what it gives,
// before the sum with the residual stream. Houlsby et al., "Parameter-efficient transfer learning
// for NLP", ICML 2019; Pfeiffer et al., "AdapterFusion", EACL 2021; He et al., "Towards a unified
// view of parameter-efficient transfer learning", ICLR 2022. U starts at 0 (He et al.), so that
// nothing changes before the first update, or near it (AdapterInit).
#pragma once

#include <memory>

#include "core/ops/elementwise/unary.h"
#include "models/adapters/adapter.h"
#include "models/adapters/adapter_config.h"

namespace gradwire {

// up(act(down(x))), with biases: x [.., d] -> [.., d].
class Bottleneck final : public Module {
 public:
  // Parameters are named by `part`, as in "<site>.<part>_down.<name>.weight". `init`: kDefault is
  // that of torch.nn.Linear.
  Bottleneck(Context& cx, const Site& site, const std::string& part, const std::string& name,
             std::int64_t inner, Unary act, AdapterInit init);
  Var forward(Context& cx, Tape& tape, Var x);
  void visit_params(const Visitor& f) override;

 private:
  Unary act_;
  Parameter down_, down_bias_, up_, up_bias_;
};

// Of kHoulsby, kPfeiffer and kParallel.
std::unique_ptr<Adapter> make_bottleneck(Context& cx, const Site& site, const std::string& name,
                                         const AdapterConfig& config);

}  // namespace gradwire
