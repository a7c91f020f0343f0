// What adapters have in common: a small trainable part that is attached to one site of a frozen
// model and changes what the site gives.
#pragma once

#include <string>
#include <vector>

#include "models/module.h"

namespace gradwire {

enum class SiteKind : std::uint8_t {
  kLinear,    // the product with one weight: q_proj, down_proj, ...
  kSublayer,  // attention or feed-forward as a whole, before its sum with the residual stream
};

// A place in a model where adapters may be attached.
struct Site {
  std::string name;  // "model.layers.0.self_attn.q_proj", "model.layers.0.mlp"
  SiteKind kind = SiteKind::kLinear;
  std::int64_t in = 0, out = 0;  // width of what it reads and gives
  Parameter* weight = nullptr;   // [out, in], of a linear site
};

// The site of a linear layer's weight, named "<site>.weight".
Site linear_site(Parameter& weight);

// What a site reads, of the samples that an adapter is for.
struct SiteInput {
  Var x;         // [B, T, in]; of a sublayer, after its norm
  Var stream{};  // of a sublayer: the residual stream [B, T, in] that its result is added to
};

// The weights of a linear layer in host memory: y = W x + b.
struct LinearWeights {
  std::int64_t out = 0, in = 0;
  std::vector<float> weight{};  // [out, in], row-major
  std::vector<float> bias{};    // [out]; empty if the layer has none
};

class Adapter : public Module {
 public:
  // Whether input() is anything but x. Only of adapters at linear sites.
  virtual bool changes_input() const { return false; }
  // What the site reads instead of x.
  virtual Var input(Context& /*cx*/, Tape& /*tape*/, Var x) { return x; }
  // Whether the product at a linear site may have a bias, which is then part of y.
  virtual bool allows_bias() const { return true; }
  // What the site gives instead of y [B, T, out].
  virtual Var output(Context& cx, Tape& tape, const SiteInput& in, Var y) = 0;
  // Makes the adapter, as it is in evaluation, part of the weights of its linear site. False, and
  // they stay as they are, if no weights give the same.
  virtual bool merge(Context& /*cx*/, LinearWeights& /*linear*/) const { return false; }
};

// A parameter's name: "<site>.<part>.<adapter>.<kind>", as in
// "model.layers.0.self_attn.q_proj.lora_A.default.weight".
std::string adapter_parameter(const Site& site, const std::string& part, const std::string& adapter,
                              const std::string& kind = "weight");

// Gives `p` its name and value: f32, uniform in [-bound, bound), from numbers that depend on
// (cx.rng.seed, name) alone.
void init_uniform(Context& cx, Parameter& p, std::string name, const Shape& shape, double bound);
// 1 / sqrt(fan_in): the bound of torch.nn.Linear's weights and biases, which is He et al.'s
// ("Delving deep into rectifiers", 2015) for a slope of sqrt(5).
double fan_in_bound(std::int64_t fan_in);

// Parameters are f32: p for products with activations of x's type.
Var in_type_of(Context& cx, Tape& tape, Var x, Parameter& p);

}  // namespace gradwire
